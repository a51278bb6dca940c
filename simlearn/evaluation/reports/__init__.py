"""Reports: figures with intervals, tables of the worst, comparisons."""

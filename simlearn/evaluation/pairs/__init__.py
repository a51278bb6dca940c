"""Pairs of objects: how well scores tell the similar from the different."""

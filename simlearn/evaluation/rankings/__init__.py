"""Rankings: relevance judgements, metrics, and the evaluators that search or score and then judge."""

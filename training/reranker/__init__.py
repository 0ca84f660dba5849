"""How the reranker that the benchmark measures is made."""

"""Scripts that make the demo models, recordings and the reranker: `python -m training.asr.train_asr` and so on."""

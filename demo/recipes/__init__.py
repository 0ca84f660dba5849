"""Scripts that make the demo models and recordings from nothing; run each as `python -m demo.recipes.NAME`."""

"""Pure functions: the small decisions of a pipeline, each testable without a model."""

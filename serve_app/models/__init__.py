"""Which models there are, where they come from, and in which order they are tried."""

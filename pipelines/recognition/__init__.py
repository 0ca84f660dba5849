"""Windows to text."""

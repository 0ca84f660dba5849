"""Search, chat and collections."""

"""The ports over Serve handles and Ray tasks."""

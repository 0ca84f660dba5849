"""Keys, what they have used, and how a browser holds one."""

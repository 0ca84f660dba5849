"""A private Ray for one machine."""

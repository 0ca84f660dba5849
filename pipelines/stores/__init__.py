"""One storage technology a file; each translates its library's errors into the tree of ``errors.py``."""

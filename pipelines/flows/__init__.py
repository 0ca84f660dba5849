"""One use case a file: async, ports in, domain records out."""

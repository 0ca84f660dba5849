"""The own routes of the four systems that this product replaces, in their shapes and words: one file a system.

Everything they do is done by the routes of ``api/jobs``, ``api/retrieval``, ``api/text`` and ``api/openai``; here it is
only said otherwise. docs/migration.md is the reader's side of it.
"""

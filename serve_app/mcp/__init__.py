"""Recordings as tools of a language model: the Model Context Protocol, with the caller's own key, tenant and scopes."""

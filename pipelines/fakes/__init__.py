"""Deterministic, behaving versions of every port, which pass the same contract suites as the real adapters.

They ship with the product so that applications can be tested, and clusters rehearsed, without a model.
"""

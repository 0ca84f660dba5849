"""Structured logs: one JSON object a line, with whatever request, job and tenant are bound to the context.

Spoken content, file names, keys and paths of clients are never logged; events are named, facts are fields.
"""

import logging

import structlog


def configure_logs(level: str) -> None:
    """Set structlog up for this process; calling it again changes the level only."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )

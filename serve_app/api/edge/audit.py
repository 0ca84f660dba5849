"""Who read, changed and erased what: a line of JSON for every request that names somebody's data, and no spoken word.

The route and its ids are written, never a query, a body or an answer.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import structlog
from starlette.types import Scope

from serve_app.api.edge.authentication import Caller

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_QUESTIONS = frozenset({"/v1/search", "/v1/chat", "/v1/chat/completions"})
"""They read what others have said, though they are posted."""
log = structlog.get_logger("rayscribe.audit")


class AuditLog:
    """Appends to a file, in order, by a thread of its own; without a file, to the application's log."""

    def __init__(self, path: Path | None) -> None:
        self._path = path.expanduser() if path else None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="audit-log")

    def record(self, scope: Scope, status: int) -> None:
        """Write down who did what, where somebody known did. Never waits, never raises."""
        caller: Caller | None = scope["state"].get("caller")
        route = getattr(scope.get("route"), "path", None)
        if caller is None or route is None:
            return
        entry = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "tenant": caller.tenant,
            "key_id": caller.key_id,
            "action": _action(scope, route),
            "method": scope["method"],
            "route": route,
            "ids": dict(scope.get("path_params", {})),
            "status": status,
            "request_id": scope["state"]["request_id"],
        }
        if self._path is None:
            log.info("audit", **entry)
        else:
            self._writer.submit(self._append, json.dumps(entry) + "\n")

    def close(self) -> None:
        """Write what is left."""
        self._writer.shutdown()

    def _append(self, line: str) -> None:
        assert self._path is not None
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            log.error("audit_not_written", reason=error.strerror, entry=line)


def _action(scope: Scope, route: str) -> str:
    if scope["method"] in _READS or route in _QUESTIONS:
        return "read"
    erases = scope["method"] == "DELETE" and (route != "/v1/jobs/{job_id}" or b"erase=true" in scope["query_string"])
    return "erase" if erases else "change"

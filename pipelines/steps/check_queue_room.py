"""Whether another job may wait, and if not, when to ask again."""

import math
from dataclasses import dataclass

from pipelines.domain.job import QueueDepth
from pipelines.errors import QueueFull

_UNKNOWN_DRAIN_S = 30.0
_LONGEST_RETRY_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How many jobs may wait (running ones do not count)."""

    per_tenant: int = 50
    total: int = 500


def is_full(depth: QueueDepth, limits: QueueLimits) -> bool:
    """Tell whether one more job would exceed a limit."""
    return _excess(depth, limits) > 0


def check_queue_room(depth: QueueDepth, limits: QueueLimits) -> None:
    """Raise QueueFull where the queue is full; its ``retry_after_s`` follows the measured drain."""
    if not is_full(depth, limits):
        return
    wait_s = _excess(depth, limits) / depth.drained_per_s if depth.drained_per_s else _UNKNOWN_DRAIN_S
    retry_after_s = float(min(max(1, math.ceil(wait_s)), _LONGEST_RETRY_S))
    raise QueueFull("too many jobs are waiting", None, retry_after_s)


def _excess(depth: QueueDepth, limits: QueueLimits) -> int:
    return max(depth.tenant_waiting - limits.per_tenant, depth.total_waiting - limits.total) + 1

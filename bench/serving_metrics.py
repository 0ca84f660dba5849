"""What the running application tells Prometheus: how full the transcriber's batches were."""

import time
from dataclasses import dataclass

import httpx
import ray
from prometheus_client.parser import text_string_to_metric_families

_NAME = "ray_rayscribe_window_batch_fill"
_REPORTED_AFTER_S = 12.0
"""Ray's processes report their metrics every ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFill:
    """Batches until now, and the sum of the shares to which they were filled."""

    batches: float
    shares: float

    def since(self, before: "BatchFill") -> dict[str, float]:
        """Return the mean fill of the batches between two readings."""
        batches = self.batches - before.batches
        return {"batches": batches, "mean_fill": round((self.shares - before.shares) / max(1.0, batches), 3)}


def batch_fill() -> BatchFill:
    """Read Ray's exporter on this machine, after all processes have reported."""
    time.sleep(_REPORTED_AFTER_S)
    [node] = ray.nodes()  # type: ignore[no-untyped-call]
    page = httpx.get(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics").text
    values = {"_count": 0.0, "_sum": 0.0}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if (ending := sample.name.removeprefix(_NAME)) in values:
                values[ending] += sample.value
    return BatchFill(batches=values["_count"], shares=values["_sum"])

"""What the application is given in these tests, where the product ships no fake of it."""

from collections.abc import Mapping

from serve_app.services import DeploymentState


class QuietCluster:
    """A ClusterStatus with one deployment."""

    def __init__(self) -> None:
        self.breaker_states: dict[str, str] = {"qdrant": "closed"}

    async def deployments(self) -> tuple[DeploymentState, ...]:
        return (DeploymentState(name="Transcriber", status="HEALTHY", replicas=1),)

    def breakers(self) -> Mapping[str, str]:
        return self.breaker_states


class RecordedMetrics:
    """A MetricsSink that remembers."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, Mapping[str, str]]] = []
        self.observed: list[tuple[str, Mapping[str, str]]] = []

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        self.counted.append((name, labels))

    def observe(self, name: str, value: float, **labels: str) -> None:
        self.observed.append((name, labels))

    def set(self, name: str, value: float, **labels: str) -> None:
        self.observed.append((name, labels))

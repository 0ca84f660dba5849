"""Durable steps in memory, which can be made to crash anywhere and to go on from there."""

from collections.abc import Awaitable, Callable, Mapping


class SimulatedCrash(BaseException):
    """The process died: nothing in the flow may catch it, and nothing after it runs."""


class InMemoryStepRunner:
    """Implements StepRunner. ``resumed`` is the same job in a new process."""

    def __init__(self, *, crash_before: str | None = None, crash_after: str | None = None) -> None:
        """Die when this step is about to start, or when it has ended but its result is not recorded."""
        self.crash_before = crash_before
        self.crash_after = crash_after
        self.results: dict[str, Mapping[str, object]] = {}
        self.started: list[str] = []
        """Names of all steps asked for, in order, recorded or not."""
        self.ran: list[str] = []
        """Names of the steps whose body ran."""
        self.events: list[tuple[str, Mapping[str, object]]] = []

    async def step(self, name: str, body: Callable[[], Awaitable[Mapping[str, object]]]) -> Mapping[str, object]:
        """Run ``body`` unless its result is recorded."""
        self.started.append(name)
        if name in self.results:
            return self.results[name]
        if name == self.crash_before:
            raise SimulatedCrash(name)
        self.ran.append(name)
        result = await body()
        if name == self.crash_after:
            raise SimulatedCrash(name)
        self.results[name] = result
        return result

    async def emit(self, event_type: str, data: Mapping[str, object]) -> None:
        """Append to the events."""
        self.events.append((event_type, dict(data)))

    def resumed(self) -> "InMemoryStepRunner":
        """Return a runner that has what this one recorded and crashes no more."""
        successor = InMemoryStepRunner()
        successor.results.update(self.results)
        successor.events.extend(self.events)
        return successor

"""An application to be killed whole: ``python -m tests.faults.application_process CONFIG DATA``.

It prints its URL once every deployment is up, answers each line of its standard input with what its Ray holds, and
stops when that ends.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from serve_app.laptop.launch import serving
from tests.faults.processes import kill_tree

_URL, _HELD = "url: ", "held: "


@dataclass(frozen=True, slots=True)
class ApplicationProcess:
    """A running application with all its processes, none of which this process is a part of."""

    process: "subprocess.Popen[str]"
    url: str

    @property
    def root(self) -> psutil.Process:
        """The process that everything else is below."""
        return psutil.Process(self.process.pid)

    def held(self) -> dict[str, float]:
        """Return what its Ray holds now: objects, their bytes, and the CPUs and workers that tasks occupy."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("held\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(_after(_HELD, self.process.stdout))
        return answer

    def kill(self) -> int:
        """SIGKILL all of it; return how many processes it was."""
        count = kill_tree(self.root)
        self.process.wait()
        return count


@contextmanager
def application_process(config: Path, data: Path) -> Iterator[ApplicationProcess]:
    """Start one and wait until it answers; nothing of it is left at the end."""
    command = [sys.executable, "-m", "tests.faults.application_process", str(config), str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield ApplicationProcess(process, _after(_URL, process.stdout))
            process.stdin.close()
            if process.poll() is None:
                process.wait(timeout=120.0)
        finally:
            if process.poll() is None:
                kill_tree(psutil.Process(process.pid))


def held_by_ray() -> dict[str, float]:
    """Ask Ray, in the process that started it, what it holds."""
    import ray
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    context: Any = ray.get_runtime_context()
    store = get_memory_info_reply(get_state_from_address(context.gcs_address)).store_stats  # type: ignore[no-untyped-call]
    core: Any = ray
    busy = core.cluster_resources().get("CPU", 0.0) - core.available_resources().get("CPU", 0.0)
    return {"objects": store.num_local_objects, "bytes": store.object_store_bytes_used, "busy_cpus": round(busy, 3)}


def say(word: str, value: str) -> None:
    sys.stdout.write(f"{word}{value}\n")
    sys.stdout.flush()


def _after(word: str, lines: Iterable[str]) -> str:
    """Return what follows ``word`` in the next line that begins with it: Ray writes lines of its own between ours."""
    for line in lines:
        if line.startswith(word):
            return line.removeprefix(word).strip()
    raise AssertionError("the application ended")


if __name__ == "__main__":
    with serving(Path(sys.argv[1]), port=0, data=Path(sys.argv[2]), whole=True) as application:
        say(_URL, application.url)
        for _ in sys.stdin:
            say(_HELD, json.dumps(held_by_ray()))

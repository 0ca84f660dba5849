"""A thousand short jobs through the running application: nothing grows, and nothing is left of them."""

import os
import sqlite3
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from pipelines.fakes.scripted_speech import Utterance, write_wav
from tests.faults.application_process import ApplicationProcess, application_process
from tests.faults.processes import eventually, roles
from tests.faults.talks import TLS, await_end
from tests.serve.conftest import FAKE_MODELS, write_config

pytestmark = [pytest.mark.serve, pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(3600)]

JOBS = int(os.environ.get("SOAK_JOBS", "1000"))
CLIENTS = 4
SAMPLES = 20
WARM_UP = 8
"""Samples that do not count: every thread's arena, every connection's statement cache, Serve's proxy and Ray's workers
come to their size within some hundred jobs, the last of them within four hundred."""
MOST_GROWTH = 0.02
UNNOTICED_BYTES = 1.5e6
"""So much may come on top in a process of which two percent is less: Ray's own two have 17 and 33 MB."""
SHORT = write_wav(
    [Utterance(start_s=0.2, end_s=1.8, text="a short job"), Utterance(start_s=3.0, end_s=4.5, text="ends")]
)
Sample = dict[str, float]


def test_a_thousand_short_jobs_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    config = write_config(tmp_path / "config.yaml", FAKE_MODELS)
    with application_process(config, tmp_path / "data") as application:
        idle = application.held()
        samples = _soak(application)
        with capsys.disabled():
            sys.stdout.write(f"\n{JOBS} jobs; anonymous memory by role, MB, in {SAMPLES} samples:\n{_table(samples)}\n")
        eventually(lambda: _is_at_most(application.held(), idle), f"Ray holds {idle} again, not {application.held()}")
        zombies = [child for child in application.root.children(recursive=True) if child.status() == "zombie"]
        assert zombies == []
        assert _files(tmp_path / "data" / "artifacts") == []
        assert _rows(tmp_path / "data" / "jobs.sqlite") == {}
        assert _files(temporary) == []
    assert {role: growth for role, growth in _growth(samples).items() if _is_too_much(growth)} == {}


def _soak(application: ApplicationProcess) -> list[Sample]:
    """Run all jobs, some at once, and take a sample of the memory whenever a share of them has ended."""
    samples: list[Sample] = []
    for _ in range(SAMPLES):
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda _: _one_job(application.url), range(JOBS // SAMPLES)))
        samples.append(_memory(application.root))
    return samples


def _one_job(url: str) -> None:
    """Submit a job, see it succeed, and erase it."""
    with httpx.Client(base_url=url, timeout=60.0, verify=TLS) as client:
        form = {"features": "raw_transcript,diarization,word_timestamps,index", "collection": "soak"}
        response = client.post("/v1/jobs", files={"file": ("short.wav", SHORT)}, data=form)
        assert response.status_code == 202, response.text
        job = await_end(url, response.json()["id"])
        assert job["status"] == "succeeded", job["error"]
        assert client.delete(f"/v1/jobs/{job['id']}", params={"erase": "true"}).status_code == 204


def _memory(root: psutil.Process) -> Sample:
    """Return role → bytes of one of its processes that no file backs, on average: their number varies.

    Pages of libraries do not count: whose they are depends on what else runs on the machine.
    """
    found: dict[str, list[int]] = {}
    for role, pids in roles(root).items():
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                memory = psutil.Process(pid).memory_info()
                found.setdefault(role, []).append(memory.rss - memory.shared)
    return {role: sum(sizes) / len(sizes) for role, sizes in found.items()}


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes in the first half after the warm-up, and in the second, at the median.

    Halves, because Serve's controller climbs by 5 MB within 250 jobs and falls again: where on such a wave a shorter
    stretch lies is chance. Medians, because a role's mean falls for a moment whenever a worker is new.
    """

    before: float
    after: float

    @property
    def share(self) -> float:
        """By how much of itself it grew."""
        return self.after / self.before - 1


def _growth(samples: list[Sample]) -> dict[str, Growth]:
    """Return how each role's memory grew, of those that were there throughout."""
    warm = samples[WARM_UP:]
    half = len(warm) // 2
    return {
        role: Growth(_median(role, warm[:half]), _median(role, warm[-half:]))
        for role in warm[0]
        if all(role in sample for sample in warm)
    }


def _median(role: str, samples: list[Sample]) -> float:
    return statistics.median(sample[role] for sample in samples)


def _is_too_much(growth: Growth) -> bool:
    return growth.share > MOST_GROWTH and growth.after - growth.before > UNNOTICED_BYTES


def _table(samples: list[Sample]) -> str:
    return "\n".join(
        f"{role:16} {' '.join(f'{sample.get(role, 0) / 1e6:5.1f}' for sample in samples)}  {growth.share:+.2%}"
        for role, growth in sorted(_growth(samples).items())
    )


def _is_at_most(held: dict[str, float], before: dict[str, float]) -> bool:
    return all(value <= before[name] for name, value in held.items())


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def _rows(database: Path) -> dict[str, int]:
    """Return table → rows that belong to a job. The hourly sweep keeps a record of itself for a while."""
    with closing(sqlite3.connect(database)) as connection:
        columns = connection.execute(
            "SELECT tables.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns"
            " WHERE tables.type = 'table' AND columns.name = 'workflow_uuid'"
        )
        counts = {
            name: connection.execute(
                f"SELECT count(*) FROM \"{name}\" WHERE workflow_uuid NOT LIKE 'sched-%'"
            ).fetchone()[0]
            for (name,) in columns.fetchall()
        }
    assert len(counts) > 5
    return {name: count for name, count in counts.items() if count}

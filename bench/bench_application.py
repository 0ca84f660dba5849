"""What the whole application costs over HTTP, on real Ray Serve with the demo models, beside the engine used directly.

    python -m bench application                                        # all parts with their defaults
    python -m bench application --parts idle jobs clips --idle-s 30
    python -m bench application --parts hour --minutes 60              # ÷ faster-whisper's batched pipeline
    python -m bench application --parts memory --long-hours 10 [--scripted]

``--scripted`` replaces the recognizer by a fake for the memory of long recordings: decoding, voice activity detection,
windows, artifacts and jobs stay real, and ten hours take minutes. Goals on a quiet machine: at least 0.95 of the direct
throughput; peak memory of all processes for ten hours at most 1.2 × that for ten minutes; acknowledged within 20 ms and
picked up within 100 ms at the median; idle at most 5 % of one core.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.bench_transcription import measure_direct
from bench.long_recordings import clips, speech, write_mp3, write_wav
from bench.machine import machine
from bench.process_tree import processor_seconds, watching_memory
from bench.serving_metrics import batch_fill
from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.transcript import TranscriptionOptions
from serve_app.laptop.launch import LOCAL_CONFIG, serving
from serve_app.settings import SHIPPED_FOLDER

PARTS = ("idle", "jobs", "clips", "hour", "memory")
CLIPS, AT_ONCE = 64, 16
SHORT_JOBS = 40
BLOCK_MINUTES = 10.0
Figures = dict[str, object]


class Client:
    """The application as a client sees it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=600.0)

    def submit(self, recording: bytes | Path) -> tuple[str, float]:
        """Ask for the raw transcript; return the job's id and the seconds until it was acknowledged."""
        content = recording.open("rb") if isinstance(recording, Path) else recording
        began = time.perf_counter()
        answer = self._http.post(
            "/v1/jobs", files={"file": ("recording", content)}, data={"features": "raw_transcript"}
        )
        answer.raise_for_status()
        return str(answer.json()["id"]), time.perf_counter() - began

    def finish(self, job_id: str) -> dict[str, Any]:
        """Follow the job's events to its end and return it."""
        with self._http.stream("GET", f"/v1/jobs/{job_id}/events") as events:
            for _ in events.iter_lines():
                continue
        job: dict[str, Any] = self._http.get(f"/v1/jobs/{job_id}").json()
        if job["status"] != "succeeded":
            raise SystemExit(f"a job {job['status']}: {job['error']}")
        return job

    def transcribe(self, clip: bytes) -> float:
        """Return the seconds that a synchronous transcription takes."""
        began = time.perf_counter()
        form = {"model": "demo-asr", "language": "en"}
        self._http.post("/v1/audio/transcriptions", files={"file": ("clip.wav", clip)}, data=form).raise_for_status()
        return time.perf_counter() - began


def measure_idle(_client: Client, options: argparse.Namespace) -> Figures:
    """Processor time of all processes while nobody asks anything."""
    time.sleep(options.settle_s)
    used, began = processor_seconds(), time.monotonic()
    time.sleep(options.idle_s)
    share = (processor_seconds() - used) / (time.monotonic() - began)
    return {"percent_of_one_core": round(100 * share, 2), "seconds": options.idle_s}


def measure_jobs(client: Client, options: argparse.Namespace) -> Figures:
    """Short jobs one after another: acknowledged, picked up, done."""
    acknowledged, picked_up, whole = list[float](), list[float](), list[float]()
    for clip in clips(SHORT_JOBS):
        began = time.perf_counter()
        job_id, seconds = client.submit(clip)
        job = client.finish(job_id)
        whole.append(time.perf_counter() - began)
        acknowledged.append(seconds)
        picked_up.append((_moment(job["started_at"]) - _moment(job["created_at"])).total_seconds())
    return {"acknowledged_ms": spread(acknowledged), "picked_up_ms": spread(picked_up), "whole_job_ms": spread(whole)}


def measure_clips(client: Client, options: argparse.Namespace) -> Figures:
    """Clips one after another, then many at once."""
    recordings = clips(CLIPS)
    for clip in recordings[:4]:
        client.transcribe(clip)
    figures: Figures = {}
    walls = []
    for at_once in (1, AT_ONCE):
        before = batch_fill()
        began = time.perf_counter()
        with ThreadPoolExecutor(at_once) as clients:
            seconds = list(clients.map(client.transcribe, recordings))
        walls.append(time.perf_counter() - began)
        fill = batch_fill().since(before)
        figures[f"{at_once}_at_once"] = {"wall_s": round(walls[-1], 2), "latency_ms": spread(seconds), "fill": fill}
    return {**figures, "throughput_ratio": round(walls[0] / walls[1], 3)}


def measure_hour(client: Client, options: argparse.Namespace) -> Figures:
    """A long recording as a job ÷ through faster-whisper alone, the application idle beside it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.wav"
        samples, reference = speech(options.minutes)
        with path.open("wb") as file:
            write_wav(file, samples)
        audio_s = len(samples) / SAMPLE_RATE_HZ
        used, began = processor_seconds(), time.perf_counter()
        job = client.finish(client.submit(path)[0])
        wall_s, cpu_s = time.perf_counter() - began, processor_seconds() - used
        direct = measure_direct(path, direct_options(options))
    ours: Figures = {
        "wall_s": round(wall_s, 1),
        "processing_s": job["metrics"]["processing_s"],
        "cpu_s": round(cpu_s, 1),
        "windows": job["metrics"]["windows"],
        "redecoded_windows": job["metrics"]["redecoded_windows"],
    }
    return {
        "audio_s": round(audio_s, 1),
        "ours": ours,
        "direct": direct.figures(audio_s, reference),
        "throughput_ratio": round(direct.wall_s / wall_s, 3),
    }


def measure_memory(client: Client, options: argparse.Namespace) -> Figures:
    """The peak of all processes together, for a short and for a long recording of the same speech."""
    samples, _ = speech(BLOCK_MINUTES)
    samples = samples[: round(BLOCK_MINUTES * 60 * SAMPLE_RATE_HZ)]
    peaks: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.mp3"
        for times in (1, 1, round(options.long_hours * 60 / BLOCK_MINUTES)):  # the first only warms up
            write_mp3(path, samples, times)
            began = time.perf_counter()
            with watching_memory() as peak:
                job = client.finish(client.submit(path)[0])
            peaks[f"{times * BLOCK_MINUTES:.0f}_minutes"] = {
                "peak_mb": peak.megabytes,
                "wall_s": round(time.perf_counter() - began, 1),
                "audio_s": job["metrics"]["input_duration_s"],
            }
    short, long = (dict[str, Any](peaks[name])["peak_mb"] for name in peaks)  # type: ignore[call-overload]
    return {**peaks, "ratio": round(long / short, 3)}


MEASURES: dict[str, Callable[[Client, argparse.Namespace], Figures]] = {
    "idle": measure_idle,
    "jobs": measure_jobs,
    "clips": measure_clips,
    "hour": measure_hour,
    "memory": measure_memory,
}


@contextmanager
def application(options: argparse.Namespace) -> Iterator[str]:
    """Serve the local profile with the demo models, whatever else this machine has."""
    document = yaml.safe_load(LOCAL_CONFIG.read_text())
    arguments = document["applications"][0]["args"]
    for role in ("transcriber", "diarizer", "embedder"):
        arguments[role]["chain"] = arguments[role]["chain"][-1:]
    arguments["limits"] = {"concurrent_uploads": AT_ONCE}  # the default of 8 refuses the others with 429
    if options.scripted:
        arguments["transcriber"]["chain"] = [{"backend": "fake", "name": "scripted"}]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(yaml.safe_dump(document))
        with serving(config, port=0, data=Path(folder) / "data", whole=True) as running:
            yield running.url


def direct_options(options: argparse.Namespace) -> argparse.Namespace:
    """Return what the direct use needs: the same model, threads, batch and beam as the local profile."""
    return argparse.Namespace(
        model=SHIPPED_FOLDER / "demo" / "models" / "asr",
        device="cpu",
        threads=2,
        batch_size=8,
        beam_size=TranscriptionOptions().beam_size,
        timestamps=True,
    )


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return median, 95th percentile and worst in milliseconds."""
    ordered = sorted(value * 1000 for value in seconds)
    names = {"p50": statistics.median(ordered), "p95": ordered[int(len(ordered) * 0.95) - 1], "max": ordered[-1]}
    return {name: round(value, 1) for name, value in names.items()}


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


def main() -> None:
    """Measure the parts that were asked for and print JSON, each as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=60.0, help="of the part `hour`")
    parser.add_argument("--long-hours", type=float, default=10.0, help="of the part `memory`")
    parser.add_argument("--scripted", action="store_true", help="a fake recognizer")
    parser.add_argument("--idle-s", type=float, default=30.0)
    parser.add_argument("--settle-s", type=float, default=15.0)
    options = parser.parse_args()
    print("starting the application", flush=True)
    with application(options) as url:
        client = Client(url)
        for part in options.parts:
            before = machine()
            print(json.dumps({part: MEASURES[part](client, options), "machine": before}, indent=2), flush=True)


if __name__ == "__main__":
    main()

"""Short clips of real speech over HTTP: the whole product beside faster-whisper behind a route that does nothing else.

    python -m bench clips --model DIR --speech DIR [--each 5] [--threads 1] [--url speaches=http://…]

Same weights, int8, threads, beam 5 and clips (3 to 9 s, five languages: bench/real_prompts.py), both servers running,
one after the other for each way: one by one and eight at once, with the language given and open. Processor time is that
of all processes of a server, since a shared machine distorts wall time; the product's holds what its idle processes
take meanwhile (``idle_share``, of a core, measured before). ``--url`` adds a server that runs elsewhere, such as
speaches, by wall time alone. Goals: half the processor time of faster-whisper, 1 / 2.5 without a language, word errors
within 0.2 points.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import jiwer
import psutil
import yaml

from bench.machine import machine
from bench.real_prompts import Prompt, read_prompts, words_of
from serve_app.laptop.launch import LOCAL_CONFIG, serving

AT_ONCE = (1, 8)
_IDLE_S = 10.0


@contextmanager
def direct_route(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield the address and the process of faster-whisper's route, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [str(options.model), f"--threads={options.threads}", f"--port={port}"]
    process = subprocess.Popen([sys.executable, "-m", "bench.minimal_route", *arguments])
    try:
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.ConnectError:
                if process.poll() is not None:
                    raise SystemExit("faster-whisper's route ended at its start") from None
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def product(options: argparse.Namespace) -> Iterator[str]:
    """Serve the local profile with the same weights and threads."""
    document = yaml.safe_load(LOCAL_CONFIG.read_text())
    arguments = document["applications"][0]["args"]
    arguments["transcriber"] = {
        "chain": [{"backend": "faster-whisper", "name": "bench", "path": str(options.model), "compute_type": "int8"}],
        "threads": options.threads,
        "batch_size": max(AT_ONCE),
    }
    for role in ("diarizer", "embedder"):
        arguments[role]["chain"] = arguments[role]["chain"][-1:]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(yaml.safe_dump(document))
        with serving(config, port=0, data=Path(folder) / "data", whole=True) as running:
            yield running.url


def tree_seconds(pids: Iterable[int]) -> float:
    """Return user and system time of processes and all below them since they began."""
    total = 0.0
    for pid in pids:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
    return total


def measure(
    url: str, prompts: Sequence[Prompt], *, at_once: int, language: bool, clock: Callable[[], float] | None
) -> dict[str, object]:
    """Send all clips; return wall and processor time and word errors."""
    with httpx.Client(base_url=url, timeout=600.0) as client:

        def text(prompt: Prompt) -> str:
            form = {"model": "bench", **({"language": prompt.language} if language else {})}
            files = {"file": ("clip.wav", prompt.path.read_bytes())}
            answer = client.post("/v1/audio/transcriptions", files=files, data=form)
            answer.raise_for_status()
            return words_of(answer.json()["text"])

        used_s, began_s = clock() if clock else 0.0, time.perf_counter()
        with ThreadPoolExecutor(at_once) as clients:
            said = list(clients.map(text, prompts))
        wall_s = time.perf_counter() - began_s
        return {
            "wall_s": round(wall_s, 2),
            "cpu_s": round(clock() - used_s, 2) if clock else None,
            "word_error_rate": round(100 * jiwer.wer([words_of(prompt.text) for prompt in prompts], said), 2),
        }


def compare(options: argparse.Namespace) -> None:
    """Print a row a line."""
    prompts = read_prompts(options.speech, each=options.each)
    print(json.dumps({"clips": len(prompts), "speech_s": round(sum(p.duration_s for p in prompts), 1), **machine()}))
    before = {child.pid for child in psutil.Process().children()}
    with product(options) as url:
        own = {child.pid for child in psutil.Process().children()} - before
        with direct_route(options) as (direct_url, direct_pid):
            servers: dict[str, tuple[str, Callable[[], float] | None]] = {
                "product": (url, lambda: tree_seconds(own)),
                "faster-whisper": (direct_url, lambda: tree_seconds([direct_pid])),
            }
            servers |= {name: (address, None) for name, address in options.url}
            used_s = tree_seconds(own)
            time.sleep(_IDLE_S)
            print(json.dumps({"idle_share": round((tree_seconds(own) - used_s) / _IDLE_S, 3)}), flush=True)
            for address, clock in servers.values():  # the first call of each makes what later ones find made
                measure(address, prompts[:2], at_once=1, language=True, clock=clock)
            for language in (True, False):
                for at_once in AT_ONCE:
                    for name, (address, clock) in servers.items():
                        row = measure(address, prompts, at_once=at_once, language=language, clock=clock)
                        way = {"server": name, "at_once": at_once, "language_given": language}
                        print(json.dumps({**way, **row}), flush=True)


def _named(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    return name, url


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure and print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path.home() / ".rayscribe" / "models" / "base")
    parser.add_argument("--speech", type=Path, default=Path("speech"), help="see bench/real_prompts.py")
    parser.add_argument("--each", type=int, default=5, help="clips a language")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--url", type=_named, action="append", default=[], metavar="NAME=URL")
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    if not options.model.is_dir() or not options.speech.is_dir():
        print(f"left out: {options.model} or {options.speech} is not there (--model, --speech)")
        return
    compare(options)


if __name__ == "__main__":
    main()

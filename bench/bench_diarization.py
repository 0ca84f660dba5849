"""One long conversation diarized as a whole and in pieces: processor time, error rate, and what N replicas would take.

    python -m bench diarization --model DIR --speech DIR [--engine ge2e|ge2e-fast|pyannote] [--minutes 20] [--step-s 2]

The conversation is put together from real prompts (bench/conversations.py). Replicas are simulated from the processor
time of each piece as it was measured, because a machine of two cores has none to spare: each piece goes to the replica
that is free first, the clustering comes after the last. ``efficiency``: the time of the whole over N times theirs.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.conversations import HELD_OUT, RATE_HZ, Conversation, Corpus, Recipe, error_rate
from bench.machine import machine
from pipelines.audio.reader import cut_pieces
from pipelines.domain.speakers import DiarizationOptions
from pipelines.ports.models import Diarizer
from pipelines.speakers.engines.ge2e import Ge2eDiarizer
from pipelines.speakers.engines.pyannote import PyannoteDiarizer

REPLICAS = (1, 2, 4, 8)


async def load(arguments: argparse.Namespace) -> Ge2eDiarizer | PyannoteDiarizer:
    """Return the engine that was asked for, in one thread."""
    if arguments.engine == "pyannote":
        return await PyannoteDiarizer.load(arguments.model, threads=1, step_s=arguments.step_s)
    return await Ge2eDiarizer.load(arguments.model, threads=1, fast=arguments.engine == "ge2e-fast")


async def measure(diarizer: Diarizer, made: Conversation) -> list[dict[str, object]]:
    """Return one row for the whole, and one for each number of replicas."""
    options = DiarizationOptions()
    await diarizer.diarize(made.samples[: 20 * RATE_HZ], options)  # what is done once is done
    began_s = time.process_time()
    whole = await diarizer.diarize(made.samples, options)
    whole_s = time.process_time() - began_s
    cut = (await diarizer.info()).pieces
    assert cut is not None
    heard, costs_s = [], []
    for piece in cut_pieces(np.array_split(made.samples, 100), cut):
        began_s = time.process_time()
        heard.append(await diarizer.hear(piece.samples, replace(piece, samples=None)))
        costs_s.append(time.process_time() - began_s)
    began_s = time.process_time()
    pieces = await diarizer.tell_apart(heard, options)
    telling_s = time.process_time() - began_s
    rates = [round(error_rate(made.turns, found), 2) for found in (whole, pieces)]
    rows: list[dict[str, object]] = [{"replicas": "whole", "cpu_s": round(whole_s, 1), "der": rates[0]}]
    for replicas in REPLICAS:
        span_s = makespan_s(costs_s, replicas) + telling_s
        rows.append(
            {
                "replicas": replicas,
                "pieces": len(heard),
                "cpu_s": round(span_s, 1),
                "der": rates[1],
                "efficiency": round(whole_s / span_s / replicas, 2),
                "telling_s": round(telling_s, 2),
                "kept_bytes": sum(map(len, heard)),
            }
        )
    return rows


def makespan_s(costs_s: Sequence[float], replicas: int) -> float:
    """Return when the last of these ends, each of which goes to the replica that is free first."""
    busy_until_s = [0.0] * replicas
    for cost_s in costs_s:
        busy_until_s[busy_until_s.index(min(busy_until_s))] += cost_s
    return max(busy_until_s)


async def _main(arguments: argparse.Namespace) -> None:
    made = Corpus(arguments.speech).compose(Recipe(voices=HELD_OUT, minutes=arguments.minutes, seed=200))
    diarizer = await load(arguments)
    for row in await measure(diarizer, made):
        print(json.dumps({"engine": arguments.engine, "minutes": arguments.minutes, **row}), flush=True)
    print(json.dumps(machine()))
    diarizer.close()


def main() -> None:
    """Measure one engine; without a model there is nothing to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--engine", choices=("ge2e", "ge2e-fast", "pyannote"), default="ge2e")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--step-s", type=float)
    arguments = parser.parse_args()
    if arguments.model is None or arguments.speech is None:
        print("left out: it needs --model and --speech")
        return
    asyncio.run(_main(arguments))


if __name__ == "__main__":
    main()

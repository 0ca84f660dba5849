"""Make the speech recognizer from nothing: speech, three trainings, conversion.

    python -m training.asr.make_asr_model

1. speech in all training voices (`make_asr_data`);
2. a first training, which learns to hear the clearer voices (`train_asr`);
3. most of what it cannot hear at all is left out (`select_recordings`);
4. the training proper, on the rest, from the first one's weights;
5. silence and noise, and a short training of the decoder alone, so that nobody's speech ends at once;
6. conversion (`convert_asr`). `evaluate_asr` then prints the scores.

Several hours on two cores with the defaults (reckoned from the steps' own times), half an hour of it speech. Every step
goes on where it was stopped, and one that is done is passed over: run the same command again.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from training.asr import convert_asr, make_asr_data, train_asr
from training.recordings import select_recordings

DEFAULT_FOLDER = Path("demo/training/asr/recipe")
SINGLES_AGAIN = 0.15
"""Share of the training proper on single sentences: what it starts from knows them already."""
LAST_RATE = 3e-4


def make(options: argparse.Namespace) -> None:
    """Run every step; each leaves a folder beside the others."""
    at: Path = options.folder
    data, selected, silence = at / "data", at / "selected", at / "silence"
    first, proper, last = at / "first", at / "proper", at / "last"
    speech = {"--recordings": options.recordings, "--workers": options.threads, "--seed": options.seed}
    speech["--synthesizers"] = options.synthesizers
    network = {"--width": options.width, "--threads": options.threads}
    network["--seed"] = options.seed
    training = network | {"--frames": options.frames, "--warm-up": options.warm_up}

    _say("speech")
    make_asr_data.main(_arguments(speech | {"--folder": data, "--shards": options.shards}))
    _say("first training")
    train_asr.main(_arguments(training | {"--data": data, "--folder": first, "--steps": options.first}))
    _say("selection")
    select_recordings.main(_arguments(network | {"--run": first, "--data": data, "--folder": selected}))
    _say("training")
    going_on = {"--folder": proper, "--initial": first, "--steps": options.steps, "--singles": SINGLES_AGAIN}
    train_asr.main(_arguments(training | going_on | {"--data": selected}))
    _say("silence")
    nobody = {"--folder": silence, "--shards": options.silent_shards, "--silent": 1.0, "--seed": options.seed + 1}
    make_asr_data.main(_arguments(speech | nobody))
    _say("last training, of the decoder")
    ending = {"--folder": last, "--initial": proper, "--steps": options.last, "--rate": LAST_RATE}
    train_asr.main(["--freeze-encoder", *_arguments(training | ending | {"--data": [selected, silence]})])
    _say("conversion")
    sentences = {"--sentences": options.alignment_sentences}
    convert_asr.main(_arguments(sentences | {"--run": last, "--model": options.model}))


def _arguments(options: Mapping[str, object]) -> list[str]:
    """Return a command line; a list is an option with several values."""
    values = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
    return [str(part) for name, several in values.items() for part in (name, *several)]


def _say(step: str) -> None:
    print(f"\n{step}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Read the budgets and make the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where the steps leave their work")
    parser.add_argument("--model", type=Path, default=DEFAULT_FOLDER / "model", help="where the model is written")
    parser.add_argument("--shards", type=int, default=80, help="shards of speech")
    parser.add_argument("--silent-shards", type=int, default=2)
    parser.add_argument("--recordings", type=int, default=300, help="recordings in a shard")
    parser.add_argument("--synthesizers", nargs="+", default=list(make_asr_data.SYNTHESIZER_SHARES))
    parser.add_argument("--first", type=int, default=4000, help="steps of the first training")
    parser.add_argument("--steps", type=int, default=4000, help="steps of the training proper")
    parser.add_argument("--last", type=int, default=350, help="steps of the last training")
    parser.add_argument("--frames", type=int, default=7000, help="frames in a batch")
    parser.add_argument("--warm-up", type=int, default=300, help="steps until the highest learning rate")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--alignment-sentences", type=int, default=40, help="sentences that choose alignment heads")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    make(parser.parse_args(arguments))


if __name__ == "__main__":
    main()

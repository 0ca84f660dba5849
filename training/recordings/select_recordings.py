"""Leave out most recordings that an earlier model cannot hear at all, so that the next training learns from the rest.

    python -m training.recordings.select_recordings --run demo/training/asr/first --data demo/training/asr/data

A recording counts as heard where the letters of its first sentence cost the earlier model's character head less than
`--limit` nats each; silence always counts. Of the others a share is kept, so that the voices they are of stay known.
Some minutes on two cores for 20,000 recordings. Shards that exist are kept; each depends on its own name and the seed
alone.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from tokenizers import Tokenizer
from torch import nn

from training.asr.asr_dataset import Recording, cut, read_shards, write_shard
from training.asr.asr_model import CHARACTERS, END, START, DemoWhisper, Size, spell, token_id
from training.asr.make_asr_data import DEFAULT_FOLDER as DATA_FOLDER
from training.asr.train_asr import DEFAULT_FOLDER as RUN_FOLDER

DEFAULT_FOLDER = Path("demo/training/asr/selected")
LIMIT = 2.6
"""Nats a letter, as it was for the shipped model."""
UNHEARD_SHARE = 0.25
MARGIN_FRAMES = 5
BATCH = 32


def load_run(folder: Path, width: int) -> DemoWhisper:
    """Load what `train_asr` left in a folder."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end, start = token_id(tokenizer, END), token_id(tokenizer, START)
    model = DemoWhisper(Size(width=width), tokenizer.get_vocab_size(), end=end, start=start)
    model.load_initial(folder)
    return model.eval()


def letter_costs(model: DemoWhisper, recordings: Sequence[Recording]) -> list[float]:
    """Return the CTC loss of each recording's first sentence in nats a letter; 0 where nobody speaks."""
    costs = [0.0] * len(recordings)
    first = {
        index: cut(recording, recording.sentences[0], MARGIN_FRAMES, MARGIN_FRAMES)
        for index, recording in enumerate(recordings)
        if recording.sentences
    }
    by_length = sorted(first, key=lambda index: len(first[index].features))
    for begin in range(0, len(by_length), BATCH):
        chosen = by_length[begin : begin + BATCH]
        for index, cost in zip(chosen, _batch_costs(model, [first[index] for index in chosen]), strict=True):
            costs[index] = cost
    return costs


def _batch_costs(model: DemoWhisper, sentences: Sequence[Recording]) -> list[float]:
    longest = max(len(sentence.features) for sentence in sentences)
    features = np.zeros((len(sentences), longest + longest % 2, sentences[0].features.shape[1]), np.float32)
    for row, sentence in enumerate(sentences):
        features[row, : len(sentence.features)] = sentence.features
    spelled = [spell(sentence.sentences[0].text) for sentence in sentences]
    with torch.inference_mode():
        letters = model.characters(model.encode(torch.from_numpy(features).transpose(1, 2)))
        losses = nn.functional.ctc_loss(
            letters.log_softmax(-1).transpose(0, 1),
            torch.tensor([letter for text in spelled for letter in text]),
            torch.tensor([(len(sentence.features) + 1) // 2 for sentence in sentences]),
            torch.tensor([len(text) for text in spelled]),
            blank=len(CHARACTERS),
            reduction="none",
        )
    return [loss / len(text) for loss, text in zip(losses.tolist(), spelled, strict=True)]


def select(
    model: DemoWhisper, recordings: Sequence[Recording], rng: random.Random, *, limit: float, unheard: float
) -> list[Recording]:
    """Return the recordings that the model hears, and a share of the others."""
    costs = letter_costs(model, recordings)
    return [
        recording for recording, cost in zip(recordings, costs, strict=True) if cost < limit or rng.random() < unheard
    ]


def main(arguments: list[str] | None = None) -> None:
    """Select from the shards that were not looked at yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=RUN_FOLDER, help="run folder of the earlier model")
    parser.add_argument("--data", type=Path, default=DATA_FOLDER, help="shards to select from")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where the selected ones are written")
    parser.add_argument("--limit", type=float, default=LIMIT)
    parser.add_argument("--unheard", type=float, default=UNHEARD_SHARE, help="share of the unheard that is kept")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    model = load_run(options.run, options.width)
    had = kept = 0
    for path in track(sorted(options.data.glob("shard-????.npz")), "Selecting"):
        if not (options.folder / path.name).exists():
            recordings = read_shards([path])
            rng = random.Random(f"{options.seed}/{path.name}")
            selected = select(model, recordings, rng, limit=options.limit, unheard=options.unheard)
            had, kept = had + len(recordings), kept + len(selected)
            write_shard(options.folder / path.name, selected)
    print(f"{kept:,} of {had:,} recordings kept")


if __name__ == "__main__":
    main()

"""Train the speech recognizer on the shards of `make_asr_data`.

    python -m training.asr.train_asr --steps 6000

About 2 s a step of 7,000 frames on one core. A stopped run goes on from its last state; `--minutes` ends the schedule
early where a clock and not a step count decides. Deterministic by seed for a given number of shards.
"""

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from tokenizers import Tokenizer
from torch import nn

from training.asr.asr_batches import IGNORED, Batch, WindowMaker
from training.asr.asr_dataset import read_shards
from training.asr.asr_model import CHARACTERS, END, START, DemoWhisper, Size, token_id, train_tokenizer
from training.asr.make_asr_data import DEFAULT_FOLDER as DATA_FOLDER

DEFAULT_FOLDER = Path("demo/training/asr/run")
CHARACTER_WEIGHT = 0.5
LABEL_SMOOTHING = 0.05
HOLD_SHARE = 0.35
"""Part of the schedule before the learning rate begins to fall."""


class Trainer:
    """A run in a folder: tokenizer, weights, and the state to go on from."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(options.seed)
        size = Size(width=options.width)
        self.tokenizer = self._tokenizer(size)
        self.model = DemoWhisper(
            size,
            self.tokenizer.get_vocab_size(),
            end=token_id(self.tokenizer, END),
            start=token_id(self.tokenizer, START),
        ).to(self.device)
        if options.initial:
            self.model.load_initial(options.initial)
        self.model.whisper.model.encoder.requires_grad_(not options.freeze_encoder)
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.step, self.elapsed_s = 0, 0.0
        self.losses = {"tokens": 0.0, "characters": 0.0}

    def _tokenizer(self, size: Size) -> Tokenizer:
        path = self.folder / "tokenizer.json"
        if self.options.initial and not path.exists():
            path.write_bytes((self.options.initial / "tokenizer.json").read_bytes())
        if not path.exists():
            train_tokenizer(size, self.options.seed).save(str(path))
        return Tokenizer.from_file(str(path))

    def progress(self) -> float:
        """How far the schedule is, 0 to 1, by steps or by the clock, whichever is further."""
        by_clock = self.elapsed_s / 60 / self.options.minutes if self.options.minutes else 0.0
        return float(max(self.step / self.options.steps, by_clock))

    def shards(self) -> list[Path]:
        """All shards of all folders of data, in order."""
        return [path for folder in self.options.data for path in sorted(folder.glob("shard-????.npz"))]

    def batches(self) -> Iterator[Batch]:
        """Batches without end; shards that appeared meanwhile join at the next pass."""
        epoch = 0
        while True:
            rng = random.Random(f"{self.options.seed}/{self.step}/{epoch}")
            windows = WindowMaker(self.tokenizer, rng)
            recordings = read_shards(self.shards())
            recordings = rng.sample(recordings, min(len(recordings), self.options.recordings))
            singles_only = self.progress() < self.options.singles
            yield from windows.batches(recordings, self.options.frames, singles_only)
            epoch += 1

    def encoded_batches(self) -> Iterator[Batch]:
        """Batches without end, each encoded once: with a frozen encoder a step then costs a tenth."""
        rng = random.Random(self.options.seed)
        recordings = read_shards(self.shards())
        windows = WindowMaker(self.tokenizer, rng).batches(recordings, self.options.frames, singles_only=False)
        with torch.no_grad():
            kept = [
                replace(batch, features=self.model.encode(batch.features.to(self.device)).half())
                for batch in track(list(windows), "Encoding")
            ]
        return chain.from_iterable(rng.sample(kept, len(kept)) for _ in count())

    def learn(self, batch: Batch) -> None:
        """One step of gradient descent."""
        rate = self.options.rate * min(1.0, (self.step + 1) / self.options.warm_up)
        rate *= min(1.0, max(0.0, 1 - self.progress()) / (1 - HOLD_SHARE))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        frozen = self.options.freeze_encoder
        encoded = batch.features.float() if frozen else self.model.encode(batch.features.to(self.device))
        logits = self.model.decode(batch.inputs.to(self.device), encoded)
        tokens = nn.functional.cross_entropy(
            logits.flatten(0, 1),
            batch.labels.to(self.device).flatten(),
            ignore_index=IGNORED,
            label_smoothing=LABEL_SMOOTHING,
        )
        characters = torch.zeros(()) if frozen else self.character_loss(batch, encoded)
        loss: torch.Tensor = tokens + CHARACTER_WEIGHT * characters
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        for name, part in (("tokens", tokens), ("characters", characters)):
            self.losses[name] += (part.item() - self.losses[name]) * (0.02 if self.step > 50 else 0.2)

    def character_loss(self, batch: Batch, encoded: torch.Tensor) -> torch.Tensor:
        """Connectionist temporal classification of the letters, from the encoder alone."""
        return nn.functional.ctc_loss(
            self.model.characters(encoded).log_softmax(-1).transpose(0, 1),
            batch.spelled.to(self.device),
            batch.encoded_lengths,
            batch.spelled_lengths,
            blank=len(CHARACTERS),
            zero_infinity=True,
        )

    def save(self) -> None:
        """Write the weights for conversion, and everything needed to go on."""
        self.model.whisper.save_pretrained(self.folder)
        torch.save(self.model.characters.state_dict(), self.folder / "ctc.pt")
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "losses": self.losses,
        }
        partial = self.folder / "state.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "state.pt")

    def resume(self) -> None:
        """Go on from the last saved state, if there is one."""
        path = self.folder / "state.pt"
        if path.exists():
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for group in self.optimizer.param_groups:
                group["fused"] = True  # a state of an earlier version brings its own way with it
            self.step, self.elapsed_s, self.losses = state["step"], state["elapsed_s"], state["losses"]

    def run(self) -> None:
        """Train to the end of the schedule."""
        self.resume()
        if self.progress() >= 1:
            return
        self.model.train()
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        batches = self.encoded_batches() if self.options.freeze_encoder else self.batches()
        with Progress(*columns) as bar:
            task = bar.add_task("", total=self.options.steps, completed=self.step)
            while self.progress() < 1:
                began = time.monotonic()
                self.learn(next(batches))
                self.step += 1
                self.elapsed_s += time.monotonic() - began
                bar.update(task, completed=self.step, description=self.describe())
                if self.step % self.options.log_every == 0:
                    bar.console.print(f"step {self.step} {self.elapsed_s:.0f} s {self.describe()}")
                if self.step % self.options.save_every == 0:
                    self.save()
        self.save()

    def describe(self) -> str:
        """The running losses."""
        return " ".join(f"{name} {loss:.3f}" for name, loss in self.losses.items())


def main(arguments: list[str] | None = None) -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[DATA_FOLDER], help="folders of shards")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where the run lives")
    parser.add_argument("--initial", type=Path, help="run folder to take tokenizer and weights from")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="end the schedule after this time, if it comes first"
    )
    parser.add_argument("--frames", type=int, default=7000, help="frames in a batch")
    parser.add_argument("--recordings", type=int, default=4000, help="recordings in a pass")
    parser.add_argument("--singles", type=float, default=0.3, help="share of the schedule on single sentences")
    parser.add_argument("--rate", type=float, default=1.2e-3, help="highest learning rate")
    parser.add_argument("--warm-up", type=int, default=300, help="steps until it is reached")
    parser.add_argument(
        "--freeze-encoder", action="store_true", help="teach the decoder alone: new sentences, old voices"
    )
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    Trainer(options).run()


if __name__ == "__main__":
    main()

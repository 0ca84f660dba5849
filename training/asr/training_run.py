"""What both trainings share: a schedule, and a state on disk from which an interrupted run goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

_AVERAGE_SHARE = 0.004  # of each new step in the running average of the weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Warm up, hold nothing, come down along a cosine."""

    steps: int
    peak: float  # learning rate
    warm_up_steps: int = 100
    floor: float = 0.01  # of the peak

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        if step < self.warm_up_steps:
            return self.peak * (step + 1) / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        return self.peak * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class TrainingRun:
    """The modules and the optimizer of one training, saved every so many steps and at its end."""

    def __init__(self, path: Path, modules: nn.Module, schedule: Schedule, *, weight_decay: float = 1e-4) -> None:
        self.path = path
        self.modules = modules
        self.schedule = schedule
        self.optimizer = torch.optim.AdamW(modules.parameters(), lr=schedule.peak, weight_decay=weight_decay)
        self.average = {name: value.clone() for name, value in modules.state_dict().items()}
        self.step = 0
        self.seconds = 0.0
        if path.exists():
            self._resume()

    def steps(self, description: str, save_every: int = 200) -> Iterator[int]:
        """Yield the number of each step that is left, under a progress bar, saving on the way."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            bar = progress.add_task(description, total=self.schedule.steps, completed=self.step)
            while self.step < self.schedule.steps:
                started = time.monotonic()
                yield self.step
                self.step += 1
                self.seconds += time.monotonic() - started
                progress.update(bar, completed=self.step)
                if self.step % save_every == 0 or self.step == self.schedule.steps:
                    self._save()

    def update(self, loss: torch.Tensor, clip: float = 5.0) -> float:
        """Take one optimizer step down `loss`; returns its value."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.modules.parameters(), clip)
        self.optimizer.step()
        self._follow()
        return float(loss.detach())

    def _follow(self) -> None:
        """Let the average follow the weights: it is better than they are as long as the rate is high."""
        share = max(_AVERAGE_SHARE, 1 / (self.step + 1))
        for name, value in self.modules.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, share)
            else:
                self.average[name].copy_(value)

    def use_average(self) -> None:
        """Replace the weights by their average, at the end of training."""
        self.modules.load_state_dict(self.average)

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        state = {"modules": self.modules.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "average": self.average, "step": self.step, "seconds": self.seconds}, partial)
        partial.rename(self.path)

    def _resume(self) -> None:
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        self.step, self.seconds = state["step"], state["seconds"]

"""Train the speaker-embedding model to tell the people of the training voices apart.

usage: python -m training.diarization.train_embedding [--folder demo/training/diarization] [--steps 900] [--test-sized]

One core of an ordinary server takes about 0.7 s a step of 48 crops. Repeat the command to go on after an
interruption; the state is in FOLDER/embedding.pt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import XVectorMFCC
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from training.asr.training_run import Schedule, TrainingRun
from training.diarization.speaker_crops import STRETCHES, SpeakerCrops
from training.diarization.speech_pool import load_pool

DIMENSION = 192
FEATURES = {"n_fft": 1024, "win_length": 800, "hop_length": 480, "n_mels": 64}
"""Long windows, so that pitch is seen too; few of them, which halves the work."""
CROP_S = 4.0
CROPS_EACH = 12
_FRAMES = (30, 80)  # of a crop that one step sees
_MARGIN_FROM = 100  # steps: a margin before the classes have formed stops them from forming


def build_embedding_model() -> XVectorMFCC:
    """Build the untrained network: (batch, 1, samples), optionally weighted, to (batch, 192) embeddings."""
    model = XVectorMFCC(mfcc={"n_mfcc": 40, "melkwargs": FEATURES}, dimension=DIMENSION)
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, min_duration=0.5
    )
    model.setup()  # type: ignore[no-untyped-call]
    return model


def pool_features(model: XVectorMFCC, features: Tensor) -> Tensor:
    """Turn (batch, 40, frames) features into (batch, 3000) statistics: all of the model but its last layer."""
    for block in model.tdnns:
        features = block(features)
    statistics: Tensor = model.stats_pool(features)
    return statistics


def make_features(folder: Path, split: str, *, each: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Return (count, 40, frames) features of `each` recorded crops of every person, and (count,) numbers of people.

    They are kept in `folder`: making them costs as much as a hundred steps of training.
    """
    path = folder / f"features-{split}-{each}.pt"
    if path.exists():
        stored = torch.load(path, weights_only=True)
        return stored["features"], stored["people"]
    crops = SpeakerCrops(load_pool(folder / "pool", split), STRETCHES if split == "train" else (1.0,))
    model, people = build_embedding_model(), np.repeat(np.arange(len(crops.people)), each)
    features = []
    for number, chosen in enumerate(track(np.array_split(people, len(people) // 20), description=f"crops, {split}")):
        waveforms = crops.draw_people(chosen, CROP_S, np.random.default_rng((seed, number)))
        features.append(model.mfcc(waveforms).squeeze(1))
    made = {"features": torch.cat(features), "people": torch.from_numpy(people)}
    torch.save(made, path)
    return made["features"], made["people"]


class EmbeddingClassifier(nn.Module):
    """The embedding model with a head that is thrown away after training.

    Deng et al., "ArcFace: additive angular margin loss for deep face recognition", CVPR 2019.
    """

    def __init__(self, people: int, margin: float = 0.2, scale: float = 30.0) -> None:
        super().__init__()
        self.embedding = build_embedding_model()
        self.centres = nn.Parameter(torch.randn(people, DIMENSION))
        self.margin, self.scale = margin, scale

    def forward(self, features: Tensor, people: Tensor, *, margin: bool) -> Tensor:
        """Return the loss of (batch, 40, frames) features of speech by (batch,) numbers of people."""
        statistics = pool_features(self.embedding, features)
        embeddings = functional.normalize(self.embedding.embedding(statistics))
        cosine = embeddings @ functional.normalize(self.centres).T
        if margin:
            own = functional.one_hot(people, cosine.shape[1]).bool()
            angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
            cosine = torch.where(own, torch.cos((angle + self.margin).clamp(max=torch.pi)), cosine)
        return functional.cross_entropy(self.scale * cosine, people)


def train(folder: Path, *, steps: int, batch: int, each: int, seed: int = 2) -> tuple[XVectorMFCC, TrainingRun]:
    """Train up to `steps`; returns the embedding model and its run."""
    torch.manual_seed(seed)
    features, people = make_features(folder, "train", each=each)
    unseen = make_features(folder, "development", each=6)
    classifier = EmbeddingClassifier(int(people.max()) + 1)
    run = TrainingRun(folder / "embedding.pt", classifier, Schedule(steps=steps, peak=1.5e-3), weight_decay=1e-3)
    mean_loss = 0.0
    for step in run.steps("embedding"):
        random = np.random.default_rng((seed, step))
        chosen, frames = random.integers(len(people), size=batch), int(random.integers(*_FRAMES))
        start = int(random.integers(features.shape[2] - frames + 1))
        classifier.train()
        crops = features[chosen, :, start : start + frames]
        loss = run.update(classifier(crops, people[chosen], margin=step >= _MARGIN_FROM))
        mean_loss = loss if step == 0 else mean_loss + 0.02 * (loss - mean_loss)
        if (step + 1) % 100 == 0:
            error = equal_error(embed(classifier.embedding, unseen[0][:, :, :66]), unseen[1])
            print(f"step {step + 1}: loss {mean_loss:.2f}, equal error on 2 s of unseen voices {error:.1%}")
    run.use_average()
    return classifier.embedding, run


def embed(model: XVectorMFCC, features: Tensor) -> Tensor:
    """Return (count, 192) embeddings of (count, 40, frames) features."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model.embedding(pool_features(model, part)) for part in torch.split(features, 64)])


def equal_error(embeddings: Tensor, people: Tensor) -> float:
    """Return the rate at which same-speaker pairs are rejected as often as different speakers are accepted."""
    unit, numbers = functional.normalize(embeddings).numpy(), people.numpy()
    first, second = np.triu_indices(len(numbers), k=1)
    order = np.argsort((unit @ unit.T)[first, second])
    same = (numbers[first] == numbers[second])[order]
    rejected = np.cumsum(same) / same.sum()
    accepted = 1 - np.cumsum(~same) / (~same).sum()
    return float(rejected[np.argmin(np.abs(rejected - accepted))])


def main() -> None:
    """Train what is left to train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo/training/diarization"))
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test-sized", action="store_true", help="four steps, to try the recipe")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps, batch, each = (4, 8, 2) if options.test_sized else (options.steps, options.batch, CROPS_EACH)
    _, run = train(options.folder, steps=steps, batch=batch, each=each)
    print(f"{run.step} steps in {run.seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()

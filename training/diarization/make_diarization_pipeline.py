"""Put the trained models into a pipeline folder: fit the PLDA, then choose the clustering on the development set.

usage: python -m training.diarization.make_diarization_pipeline [--folder demo/training/diarization]
                                                        [--target demo/models/diarization] [--test-sized]

About five minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyannote.audio import Pipeline
from rich.progress import track
from torch import nn

from training.diarization.diarization_scores import Score, as_file, score, summary
from training.diarization.fit_plda import fit_plda
from training.diarization.make_conversations import load_bank
from training.diarization.pyannote_folder import save_config, save_model
from training.diarization.refit_embedding import refit_last_layer, statistics_of_cuts
from training.diarization.segmentation_model import build_segmentation_model
from training.diarization.train_embedding import CROPS_EACH, EmbeddingClassifier, make_features
from training.speech import SAMPLE_RATE_HZ

_WRONG_COUNT = 0.1
"""What a wrong number of speakers costs in the choice, next to the error rate: people notice it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A clustering to try."""

    clustering: str
    parameters: dict[str, float | str]


def candidates() -> Iterator[Candidate]:
    """List the clusterings that are tried, from the plainest on."""
    for threshold, size in product(np.arange(0.55, 1.01, 0.05).round(2).tolist(), (4, 8)):
        plain: dict[str, float | str] = {"method": "centroid", "min_cluster_size": size, "threshold": threshold}
        yield Candidate(clustering="AgglomerativeClustering", parameters=plain)
    for threshold, fa, fb in product((0.5, 0.65, 0.8), (0.03, 0.07, 0.15), (1.0, 3.0, 8.0)):
        bayesian: dict[str, float | str] = {"threshold": threshold, "Fa": fa, "Fb": fb}
        yield Candidate(clustering="VBxClustering", parameters=bayesian)


def load_average(path: Path, module: nn.Module) -> None:
    """Fill `module` with the averaged weights of its training run."""
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])


def save_models(folder: Path, target: Path, *, each: int) -> None:
    """Write both trained models and the PLDA into `target`."""
    segmentation = build_segmentation_model()
    load_average(folder / "segmentation.pt", segmentation)
    save_model(segmentation, target / "segmentation" / "pytorch_model.bin")
    features, people = make_features(folder, "train", each=each)
    classifier = EmbeddingClassifier(int(people.max()) + 1)
    load_average(folder / "embedding.pt", classifier)
    features, people = features[::2], people[::2]  # half of the crops pin a closed form down
    statistics = statistics_of_cuts(classifier.embedding, features, seed=1)
    refit_last_layer(classifier.embedding, statistics, people)
    save_model(classifier.embedding, target / "embedding" / "pytorch_model.bin")
    with torch.inference_mode():
        embeddings = classifier.embedding.embedding(statistics).double().numpy()
    fit_plda(embeddings, people.numpy()).save(target / "plda")


def choose(folder: Path, target: Path, tried: list[Candidate]) -> tuple[Candidate, dict[str, float]]:
    """Score the candidates on the development conversations; returns the best and its scores."""
    bank = load_bank(folder, "development")
    files = [as_file(f"{i:04d}", item.waveform()) for i, item in enumerate(bank)]
    references = [item.annotation(f"{i:04d}") for i, item in enumerate(bank)]
    pipelines = {name: _load(target, tried, name) for name in sorted({item.clustering for item in tried})}
    best: tuple[float, Candidate, dict[str, float]] | None = None
    for candidate in track(tried, description="choosing the clustering"):
        pipeline = pipelines[candidate.clustering]
        pipeline.instantiate({"clustering": candidate.parameters, "segmentation": {"min_duration_off": 0.0}})
        scores = [_score(pipeline, file, reference) for file, reference in zip(files, references, strict=True)]
        means = summary(scores)
        cost = means["error"] + _WRONG_COUNT * (1 - means["right_count"])
        quality = f"error {means['error']:.3f}, right count {means['right_count']:.2f}"
        print(f"{quality}: {candidate.clustering} {candidate.parameters}")
        if best is None or cost < best[0]:
            best = cost, candidate, means
    assert best is not None
    return best[1], best[2]


def _load(target: Path, tried: list[Candidate], clustering: str) -> Any:
    first = next(item for item in tried if item.clustering == clustering)
    save_config(target, first.clustering, first.parameters)
    pipeline: Any = Pipeline.from_pretrained(target)
    pipeline.training = True  # keeps segmentation and embeddings of a file from one candidate to the next
    return pipeline


def _score(pipeline: Any, file: dict[str, Any], reference: Any) -> Score:
    found = pipeline.apply(file).speaker_diarization
    return score(file["uri"], reference, found, file["waveform"].shape[1] / SAMPLE_RATE_HZ)


def make_pipeline(folder: Path, target: Path, tried: list[Candidate], *, each: int) -> dict[str, float]:
    """Write the whole folder; returns the scores on the development conversations."""
    save_models(folder, target, each=each)
    chosen, means = choose(folder, target, tried)
    save_config(target, chosen.clustering, chosen.parameters)
    print(f"chosen: {chosen.clustering} {chosen.parameters}")
    return means


def main() -> None:
    """Make the folder and say how it does on the development conversations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo/training/diarization"))
    parser.add_argument("--target", type=Path, default=Path("demo/models/diarization"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test-sized", action="store_true", help="one clustering, to try the recipe")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tried, each = (list(candidates())[:1], 2) if options.test_sized else (list(candidates()), CROPS_EACH)
    for name, value in make_pipeline(options.folder, options.target, tried, each=each).items():
        print(f"development {name}: {value:.3f}")


if __name__ == "__main__":
    main()

"""The recipe of the diarization model, from an empty folder to a pipeline that runs: a few seconds of everything."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.diarization.fit_plda import fit_plda
from training.speech import missing_synthesizers

pytestmark = pytest.mark.slow  # trains small models: minutes, for recipes that change seldom

PYANNOTE_MEAN_OF_NOTHING = "Mean of empty slice|invalid value encountered"
"""numpy's words where pyannote averages the embeddings of a recording in which nobody speaks for a second."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the data once; skipped, saying why, where the machine lacks a synthesizer."""
    if missing := missing_synthesizers():
        pytest.skip(f"not installed: {', '.join(missing)}")
    from training.diarization.make_conversations import TEST_SIZED, make_bank
    from training.diarization.speech_pool import make_pool

    folder = tmp_path_factory.mktemp("diarization")
    for split, bank in TEST_SIZED.items():
        make_pool(folder / "pool", split, voices=6, utterances=5, jobs=2)
        make_bank(folder, split, bank, jobs=2)
    return folder


def test_conversations_are_the_same_on_every_run(recipe: Path, tmp_path: Path) -> None:
    from training.diarization.make_conversations import TEST_SIZED, load_bank, make_bank

    (tmp_path / "pool").symlink_to(recipe / "pool")
    make_bank(tmp_path, "test", TEST_SIZED["test"], jobs=1)
    first, again = load_bank(recipe, "test"), load_bank(tmp_path, "test")
    assert [item.turns for item in first] == [item.turns for item in again]
    assert all(np.array_equal(one.samples, other.samples) for one, other in zip(first, again, strict=True))


def test_reference_says_who_speaks(recipe: Path) -> None:
    from training.diarization.make_conversations import load_bank

    for conversation in load_bank(recipe, "train"):
        samples, turns = conversation.waveform(), conversation.turns
        assert all(0 <= turn.start_s < turn.end_s <= len(samples) / 16_000 for turn in turns)
        for moment in np.arange(0, len(samples) / 16_000, 0.05):
            assert sum(turn.start_s <= moment < turn.end_s for turn in turns) <= 2


def test_splits_share_no_voice() -> None:
    pytest.importorskip("rich")
    from training.diarization.speech_pool import people_of

    names = [
        {(voice.synthesizer, voice.name) for voice in people_of(split)} for split in ("train", "development", "test")
    ]
    assert all(names)
    assert sum(map(len, names)) == len(set.union(*names))


def test_plda_makes_speakers_spherical() -> None:
    random = np.random.default_rng(1)
    speakers = np.repeat(np.arange(200), 10)
    centres = random.normal(size=(200, 24)) * np.linspace(3, 0.5, 24)
    embeddings = centres[speakers] + random.normal(size=(2000, 24)) * np.linspace(0.4, 1.5, 24)
    plda = fit_plda(embeddings, speakers, dimension=16)
    assert plda.lda.shape == (24, 16)
    assert np.all(np.diff(plda.psi) <= 0)
    assert np.all(plda.psi > 0)


@pytest.mark.engines
@pytest.mark.timeout(300)
def test_recipe_makes_a_pipeline_that_runs(recipe: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from training.diarization import (
            evaluate_diarization,
            make_diarization_pipeline,
            train_embedding,
            train_segmentation,
        )

    target = tmp_path / "model"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"std\(\): degrees of freedom", category=UserWarning)
        warnings.filterwarnings("ignore", message=PYANNOTE_MEAN_OF_NOTHING, category=RuntimeWarning)
        train_segmentation.train(recipe, steps=4, batch=4)
        train_embedding.train(recipe, steps=4, batch=8, each=4)
        tried = list(make_diarization_pipeline.candidates())[:1]
        make_diarization_pipeline.make_pipeline(recipe, target, tried, each=4)
        scores = evaluate_diarization.evaluate(target, recipe, tmp_path)
    assert [item.speakers for item in scores] == [2, 2]
    assert {path.name for path in target.iterdir()} == {"config.yaml", "segmentation", "embedding", "plda"}
    _resumes(recipe, torch)


def _resumes(recipe: Path, torch: Any) -> None:
    from training.diarization import train_segmentation

    before = torch.load(recipe / "segmentation.pt", weights_only=True)["step"]
    run = train_segmentation.train(recipe, steps=5, batch=4)
    assert (before, run.step) == (4, 5)

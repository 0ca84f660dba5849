"""Which windows are one voice, on voices that are directions in space."""

import numpy as np
import pytest

from pipelines.speakers.clustering import (
    ClusteringOptions,
    SpeakerLimits,
    Vectors,
    find_voices,
    follow_voices,
    refine_voices,
)

OPTIONS = ClusteringOptions()


def spoken(*counts: int, noise: float = 0.03, size: int = 64) -> tuple[Vectors, np.ndarray]:
    """Return windows of as many voices as there are counts, which stand at right angles, and who speaks in each."""
    chance = np.random.default_rng(5)
    labels = np.repeat(np.arange(len(counts)), counts)
    vectors = np.eye(size)[labels] + chance.normal(0, noise, (len(labels), size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("counts", [(1,), (2,), (40,), (40, 30), (40, 30, 20), (60, 50, 40, 30, 25, 20)])
def test_voices_are_counted(counts: tuple[int, ...]) -> None:
    assert len(find_voices(spoken(*counts)[0], SpeakerLimits(), OPTIONS)) == len(counts)


@pytest.mark.parametrize(
    ("limits", "voices"),
    [
        (SpeakerLimits(), 3),
        (SpeakerLimits(least=1, most=1), 1),
        (SpeakerLimits(least=2, most=2), 2),
        (SpeakerLimits(most=2), 2),
        (SpeakerLimits(most=9), 3),
        (SpeakerLimits(least=2), 3),
        (SpeakerLimits(least=5, most=5), 5),
        (SpeakerLimits(least=6), 6),
    ],
)
def test_a_known_number_of_voices_is_kept(limits: SpeakerLimits, voices: int) -> None:
    assert len(find_voices(spoken(40, 30, 20)[0], limits, OPTIONS)) == voices


def test_more_voices_than_windows_cannot_be() -> None:
    assert len(find_voices(spoken(3)[0], SpeakerLimits(least=9, most=9), OPTIONS)) <= 3


def test_a_few_odd_windows_are_no_voice_but_a_minute_of_a_long_meeting_is() -> None:
    assert len(find_voices(spoken(100, 100, 2)[0], SpeakerLimits(), OPTIONS)) == 2
    assert len(find_voices(spoken(1500, 1000, 60)[0], SpeakerLimits(), OPTIONS)) == 3


def test_a_long_recording_is_clustered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import scipy.spatial.distance

    compared: list[int] = []
    distances = scipy.spatial.distance.pdist

    def counted(vectors: np.ndarray, kind: str) -> np.ndarray:
        compared.append(len(vectors))
        return np.asarray(distances(vectors, kind))

    monkeypatch.setattr(scipy.spatial.distance, "pdist", counted)
    vectors, labels = spoken(9000, 9000)
    options = ClusteringOptions(most_windows=500)
    voices = find_voices(vectors, SpeakerLimits(), options)
    found = follow_voices(vectors, [1.0] * len(vectors), [0] * len(vectors), voices, options)
    assert compared == [500]
    assert len({(int(a), int(b)) for a, b in zip(found, labels, strict=True)}) == 2


def test_one_strange_window_inside_a_stretch_is_followed_through() -> None:
    vectors, labels = spoken(20, 20)
    vectors[10] = (vectors[10] * 0.4 + vectors[30] * 0.6) / np.linalg.norm(vectors[10] * 0.4 + vectors[30] * 0.6)
    voices = find_voices(vectors, SpeakerLimits(), OPTIONS)
    found = follow_voices(vectors, [1.0] * 40, [int(label) for label in labels], voices, OPTIONS)
    assert len(set(found[:20].tolist())) == len(set(found[20:].tolist())) == 1
    assert found[0] != found[20]


def test_a_change_costs_less_between_two_stretches_than_inside_one() -> None:
    voices = np.eye(2, dtype=np.float32)
    vectors = np.array([[1, 0], [1, 0], [0.6, 0.8], [1, 0], [1, 0]], dtype=np.float32)
    one = follow_voices(vectors, [1.0] * 5, [0] * 5, voices, OPTIONS)
    three = follow_voices(vectors, [1.0] * 5, [0, 0, 1, 2, 2], voices, OPTIONS)
    assert one.tolist() == [0, 0, 0, 0, 0]
    assert three.tolist() == [0, 0, 1, 0, 0]


def test_voices_are_refined_by_what_they_say() -> None:
    vectors, labels = spoken(10, 10)
    refined = refine_voices(vectors, labels, np.eye(3, 64, dtype=np.float32))
    assert np.allclose(np.linalg.norm(refined, axis=1), 1, atol=1e-5)
    assert np.allclose(refined[2], np.eye(3, 64)[2])
    assert np.dot(refined[0], vectors[:10].mean(axis=0)) > 0.9

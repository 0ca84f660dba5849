"""The recipe of the speech recognizer from an empty folder, as small as it can be, and what its text promises."""

import random
from collections.abc import Sequence
from pathlib import Path
from shutil import which

import numpy as np
import pytest

from training.asr.asr_dataset import Recording, Sentence, cut, join, read_shards, write_shard
from training.asr.text import GRAMMARS, make_sentence, normalize, split_of
from training.recordings.sample_scripts import QUESTIONS, SCRIPTS
from training.speech import list_voices

pytestmark = pytest.mark.slow  # trains small models: minutes, for recipes that change seldom

needs_espeak = pytest.mark.skipif(which("espeak-ng") is None, reason="espeak-ng is not installed")


def a_recording(frames: int, *sentences: tuple[float, float, str]) -> Recording:
    features = np.random.default_rng(frames).normal(size=(frames, 80)).astype(np.float16)
    spoken = tuple(Sentence(start_s=start, end_s=end, text=text) for start, end, text in sentences)
    return Recording(features=features, sentences=spoken)


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_training_text_holds_no_test_and_no_sample_sentence(grammar: str) -> None:
    rng = random.Random(3)
    training = {normalize(make_sentence(rng, "train", grammar=grammar)) for _ in range(400)}
    testing = {normalize(make_sentence(rng, "test", grammar=grammar)) for _ in range(60)}
    said = {normalize(turn.text) for script in SCRIPTS.values() for turn in script}
    assert not training & (testing | said)


def test_split_ignores_punctuation_and_case() -> None:
    assert split_of("Let us start!") == split_of("let us start")
    assert all(split_of(turn.text) == "samples" for script in SCRIPTS.values() for turn in script)


def test_every_question_has_its_answer_in_the_script() -> None:
    for name, questions in QUESTIONS.items():
        for _, beginning in questions:
            assert any(turn.text.startswith(beginning) for turn in SCRIPTS[name])


def test_no_voice_is_in_both_splits() -> None:
    def people(voices: Sequence[object]) -> set[tuple[str, str]]:
        return {(voice.synthesizer, voice.name) for voice in voices}  # type: ignore[attr-defined]

    assert not people(list_voices("train")) & people(list_voices("heldout"))


def test_shards_keep_what_was_written(tmp_path: Path) -> None:
    written = [a_recording(120, (0.1, 0.9, "Yes.")), a_recording(50)]
    write_shard(tmp_path / "shard-0000.npz", written)
    read = read_shards([tmp_path / "shard-0000.npz"])
    assert [recording.sentences for recording in read] == [recording.sentences for recording in written]
    assert all(np.array_equal(one.features, other.features) for one, other in zip(read, written, strict=True))


def test_joined_recordings_move_their_times() -> None:
    joined = join([a_recording(120, (0.1, 0.9, "Yes.")), a_recording(200, (0.5, 1.5, "No."))])
    assert len(joined.features) == 320
    assert [(sentence.start_s, sentence.text) for sentence in joined.sentences] == [(0.1, "Yes."), (1.7, "No.")]
    assert joined.features.max() - joined.features.min() <= 2.001


def test_a_cut_sentence_starts_after_its_margin() -> None:
    recording = a_recording(300, (1.0, 2.0, "Yes."))
    alone = cut(recording, recording.sentences[0], before=10, after=20)
    assert len(alone.features) == 130
    assert alone.sentences[0].start_s == pytest.approx(0.1)


@needs_espeak
def test_a_shard_depends_on_its_seed_alone(tmp_path: Path) -> None:
    from training.asr.make_asr_data import make_shard

    first, again = (make_shard(tmp_path / name, 5, 2, ("espeak-ng",), "basic") for name in ("one.npz", "two.npz"))
    assert first.read_bytes() == again.read_bytes()


@needs_espeak
@pytest.mark.engines
@pytest.mark.filterwarnings("ignore")  # of transformers and ctranslate2, while they convert
def test_the_recipe_runs_from_an_empty_folder_to_a_model_that_decodes(tmp_path: Path) -> None:
    from training.asr import make_asr_model
    from training.asr.asr_measures import hear, load_model

    model = tmp_path / "model"
    budget = {"--shards": 1, "--silent-shards": 1, "--recordings": 6, "--first": 2, "--steps": 2, "--last": 2}
    budget |= {"--width": 64, "--frames": 1500, "--warm-up": 1, "--alignment-sentences": 0, "--threads": 1}
    arguments = [str(part) for option in budget.items() for part in option]
    arguments += ["--folder", str(tmp_path / "work"), "--model", str(model), "--synthesizers", "espeak-ng"]
    make_asr_model.main(arguments)
    loaded = load_model(model)
    for batched in (False, True):
        for timestamps in (False, True):
            words = hear(loaded, np.zeros(16_000, np.float32), batched=batched, timestamps=timestamps)
            assert all(word.start_s <= word.end_s for word in words)
    before = (model / "model.bin").read_bytes()
    arguments[arguments.index("--last") + 1] = "3"
    make_asr_model.main(arguments)  # goes on from step 2 of the last training; all before it is there
    assert (model / "model.bin").read_bytes() != before


def test_what_an_earlier_model_cannot_hear_is_mostly_left_out(tmp_path: Path) -> None:
    from training.asr.asr_model import END, START, DemoWhisper, Size, token_id, train_tokenizer
    from training.recordings.select_recordings import letter_costs, select

    size = Size(width=64)
    tokenizer = train_tokenizer(size, seed=1, sentences=200)
    vocabulary = tokenizer.get_vocab_size()
    model = DemoWhisper(size, vocabulary, end=token_id(tokenizer, END), start=token_id(tokenizer, START)).eval()
    silent, short, long = a_recording(80), a_recording(90, (0.1, 0.8, "Yes.")), a_recording(301, (0.2, 2.9, "Oh no."))
    recordings = [short, silent, long] * 20
    costs = letter_costs(model, recordings)
    assert costs[1] == 0.0
    assert costs[0] == pytest.approx(letter_costs(model, [short])[0], rel=0.02)  # padding to the batch changes little
    limit = (costs[0] + costs[2]) / 2
    kept = select(model, recordings, random.Random(1), limit=limit, unheard=0.25)
    heard, other = (short, long) if costs[0] < costs[2] else (long, short)
    assert sum(one is silent for one in kept) == sum(one is heard for one in kept) == 20
    assert 0 < sum(one is other for one in kept) < 12


def test_a_recording_longer_than_a_window_is_a_window_alone() -> None:
    from training.asr.asr_batches import LONGEST_WINDOW_FRAMES, WindowMaker
    from training.asr.asr_model import Size, train_tokenizer

    long = [a_recording(LONGEST_WINDOW_FRAMES + 40, (0.1, 14.2, "Yes, that is right.")) for _ in range(6)]
    maker = WindowMaker(train_tokenizer(Size(), seed=1, sentences=200), random.Random(1))
    batches = list(maker.batches(long, frames=7_000, singles_only=False))
    assert sum(len(batch.features) for batch in batches) == len(long)

"""What surrounds the networks of the diarizer for real voices: weights, memory, errors, stopping; and a real call."""

import asyncio
import io
import pickle
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.domain.model import DiarizerInfo
from pipelines.domain.speakers import DiarizationOptions
from pipelines.errors import InvalidRequest, ModelError, ModelOutOfMemory, ModelUnavailable, RayScribeError
from pipelines.speakers.engines.ge2e import Abandoned, Ge2eDiarizer
from pipelines.speakers.engines.ge2e_conversion import convert_sources, read_restricted
from pipelines.speakers.engines.segmentation import FRAME_SAMPLES, Segmentation
from tests.real_models import real_model

pytestmark = pytest.mark.engines
RATE_HZ = 16_000
NOISE = np.ones(10 * RATE_HZ, dtype=np.int16)
HYPER_PARAMETERS: dict[str, Any] = {
    "sincnet": {"stride": 10, "sample_rate": RATE_HZ},
    "lstm": {"hidden_size": 4, "num_layers": 1, "bidirectional": True},
    "linear": {"hidden_size": 4, "num_layers": 1},
}


class Encoder:
    """Two voices that take turns every ten seconds."""

    def embed(
        self, samples: object, windows: Sequence[tuple[int, int]], batch_size: int, between: Callable[[], None]
    ) -> Any:
        for _ in range(0, len(windows), batch_size):
            between()
        return np.eye(256, dtype=np.float32)[[start // (10 * RATE_HZ) % 2 for start, _ in windows]]


class Network:
    """Speech everywhere, a change of voice every ten seconds, and whatever ``before`` does first."""

    def __init__(self, before: Callable[[int], None] = lambda batch_size: None) -> None:
        self._before = before

    def segment(self, samples: Any, batch_size: int, between: Callable[[], None]) -> Segmentation:
        self._before(batch_size)
        between()
        frames = len(samples) // FRAME_SAMPLES
        times = np.arange(frames) * FRAME_SAMPLES % (10 * RATE_HZ)
        change = ((times < FRAME_SAMPLES) & (np.arange(frames) > 0)).astype(np.float32)
        return Segmentation(speech=np.ones(frames, np.float32), overlap=np.zeros(frames, np.float32), change=change)


@pytest.fixture
def diarizer_over() -> Iterator[Callable[[Network], Ge2eDiarizer]]:
    made: list[Ge2eDiarizer] = []

    def make(network: Network) -> Ge2eDiarizer:
        info = DiarizerInfo(backend="ge2e", name="stub")
        made.append(Ge2eDiarizer(Encoder(), network, info))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for diarizer in made:
        diarizer.close()


Make = Callable[[Network], Ge2eDiarizer]


async def test_two_hours_take_bounded_memory(diarizer_over: Make) -> None:
    samples = np.ones(2 * 3600 * RATE_HZ, dtype=np.int16)
    diarizer = diarizer_over(Network())
    tracemalloc.start()
    try:
        found = await diarizer.diarize(samples, DiarizationOptions())
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.speakers == ("SPEAKER_00", "SPEAKER_01")
    assert len(found.exclusive_turns) == 720
    assert peak_bytes < 300e6, "as float32 the samples alone would take 460 MB"


async def test_a_cancelled_call_stops_before_the_next_batch(diarizer_over: Make) -> None:
    begun, go_on, stopped = threading.Event(), threading.Event(), threading.Event()

    class Slow(Network):
        def segment(self, samples: Any, batch_size: int, between: Callable[[], None]) -> Segmentation:
            begun.set()
            go_on.wait()
            try:
                between()
            except Abandoned:
                stopped.set()
                raise
            return super().segment(samples, batch_size, between)

    call = asyncio.create_task(diarizer_over(Slow()).diarize(NOISE, DiarizationOptions()))
    await asyncio.to_thread(begun.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    assert await asyncio.to_thread(stopped.wait, 5.0)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (RuntimeError("CUDA out of memory"), ModelOutOfMemory),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), ModelUnavailable),
        (RuntimeError("kernel"), ModelError),
        (ValueError(), ModelError),
    ],
)
async def test_errors_of_the_networks_are_ours(
    diarizer_over: Make, theirs: Exception, ours: type[RayScribeError]
) -> None:
    def fail(batch_size: int) -> None:
        raise theirs

    with pytest.raises(RayScribeError) as raised:
        await diarizer_over(Network(fail)).diarize(NOISE, DiarizationOptions())
    assert type(raised.value) is ours


async def test_where_memory_is_short_batches_are_halved_for_good(diarizer_over: Make) -> None:
    sizes: list[int] = []

    def fits(batch_size: int) -> None:
        sizes.append(batch_size)
        if batch_size > 8:
            raise RuntimeError("CUDA out of memory")

    diarizer = diarizer_over(Network(fits))
    for _ in range(2):
        await diarizer.diarize(NOISE, DiarizationOptions())
    assert sizes == [32, 16, 8, 8]
    assert (await diarizer.info()).batch_size == 8


async def test_numbers_that_cannot_be_are_refused(diarizer_over: Make) -> None:
    with pytest.raises(InvalidRequest, match="num_speakers"):
        await diarizer_over(Network()).diarize(NOISE, DiarizationOptions(num_speakers=0))


async def test_a_folder_without_weights_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="nothing-here could not be loaded"):
        await Ge2eDiarizer.load(tmp_path, name="nothing-here")


def write_sources(folder: Path) -> tuple[Path, Path]:
    """Write both sources as they are published: same structure, small and meaningless weights."""
    import torch
    from asteroid_filterbanks import ParamSincFB

    torch.manual_seed(3)
    lstm, linear = torch.nn.LSTM(40, 256, 3), torch.nn.Linear(256, 256)
    encoder = {f"lstm.{name}": value for name, value in lstm.state_dict().items()}
    encoder |= {f"linear.{name}": value for name, value in linear.state_dict().items()}
    torch.save(
        {"step": 1, "model_state": {**encoder, "similarity_weight": torch.ones(1)}, "optimizer_state": {}},
        folder / "pretrained.pt",
    )
    layers = {
        "sincnet.wav_norm1d": torch.nn.InstanceNorm1d(1, affine=True),
        "sincnet.conv1d.0.filterbank": ParamSincFB(80, 251, stride=10),
        "sincnet.conv1d.1": torch.nn.Conv1d(80, 60, 5),
        "sincnet.conv1d.2": torch.nn.Conv1d(60, 60, 5),
        **{f"sincnet.norm1d.{n}": torch.nn.InstanceNorm1d(size, affine=True) for n, size in enumerate((80, 60, 60))},
        "lstm": torch.nn.LSTM(60, 4, 1, bidirectional=True),
        "linear.0": torch.nn.Linear(8, 4),
        "classifier": torch.nn.Linear(4, 3),
    }
    state = {f"{name}.{part}": value for name, layer in layers.items() for part, value in layer.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": HYPER_PARAMETERS}, folder / "segmentation.bin")
    return folder / "pretrained.pt", folder / "segmentation.bin"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_same_sources_give_the_same_bytes_and_replace_what_was_there(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    convert_sources(*sources, tmp_path / "first")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "left over").touch()
    convert_sources(*sources, tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert set(contents(tmp_path / "first")) == {
        "encoder.safetensors",
        "segmentation.safetensors",
        "segmentation.json",
        "config.json",
    }
    assert {entry.name for entry in tmp_path.iterdir()} == {"first", "second", "pretrained.pt", "segmentation.bin"}


async def test_what_was_converted_loads_with_and_without_the_segmentation(tmp_path: Path) -> None:
    encoder, segmentation = write_sources(tmp_path)
    convert_sources(encoder, segmentation, tmp_path / "both")
    convert_sources(encoder, None, tmp_path / "alone")
    for folder, fast, kind in (("both", False, "pyannote"), ("both", True, "silero"), ("alone", False, "silero")):
        diarizer = await Ge2eDiarizer.load(tmp_path / folder, fast=fast, threads=1)
        assert (await diarizer.info()).segmentation == kind
        await diarizer.diarize(NOISE, DiarizationOptions())
        diarizer.close()


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def write_archive(path: Path, content: object) -> Path:
    data = io.BytesIO()
    pickle.dump(content, data, protocol=2)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data.getvalue())
    return path


def test_weights_that_carry_code_are_refused_and_nothing_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_archive(tmp_path / "bomb.bin", {"state_dict": {}, "hyper_parameters": Bomb()})
    with pytest.raises(ValueError, match=r"it names __builtin__\.getattr"):
        read_restricted(source)
    encoder, _ = write_sources(tmp_path)
    with pytest.raises(ValueError, match=r"bomb\.bin cannot be read as weights"):
        convert_sources(encoder, source, tmp_path / "made")
    with pytest.raises(ValueError, match=r"bomb\.bin is not a GE2E encoder"):
        convert_sources(source, None, tmp_path / "made")
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_archive_of_weights_is_refused(tmp_path: Path, content: bytes | None) -> None:
    source = tmp_path / "odd.bin"
    if content is None:
        write_archive(source, [1, 2, 3])
    else:
        source.write_bytes(content)
    encoder, _ = write_sources(tmp_path)
    with pytest.raises(ValueError, match=r"odd\.bin"):
        convert_sources(encoder, source, tmp_path / "made")


def test_the_network_is_pyannotes(tmp_path: Path) -> None:
    """The same weights in pyannote.audio's own PyanNet give the same scores."""
    import torch
    from pyannote.audio.models.segmentation import PyanNet as Theirs
    from safetensors.torch import load_file

    from pipelines.speakers.engines.segmentation import PyanNet as Ours

    convert_sources(*write_sources(tmp_path), tmp_path / "made")
    weights = tmp_path / "made" / "segmentation.safetensors"
    theirs = Theirs(**HYPER_PARAMETERS).eval()
    theirs.classifier, theirs.activation = torch.nn.Linear(4, 3), torch.nn.Sigmoid()
    theirs.load_state_dict(load_file(weights))
    ours = Ours(weights, weights.with_suffix(".json"), "cpu")
    waveform = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, (2, 80_000)).astype(np.float32))
    with torch.inference_mode():
        assert torch.allclose(ours._network(waveform), theirs(waveform.unsqueeze(1)), atol=1e-5)


async def test_two_people_on_the_telephone_are_told_apart() -> None:
    """The call that pyannote.audio ships, with the number of speakers known: an error rate of at most 20 %."""
    import pyannote.audio

    from bench.conversations import error_rate, read_call

    folder = real_model("ge2e", holding="encoder.safetensors")
    call = read_call(Path(pyannote.audio.__file__).parent / "sample" / "sample.wav")
    diarizer = await Ge2eDiarizer.load(folder, threads=1)
    found = await diarizer.diarize(call.samples, DiarizationOptions(num_speakers=2))
    diarizer.close()
    assert found.speakers == ("SPEAKER_00", "SPEAKER_01")
    assert error_rate(call.turns, found) < 20

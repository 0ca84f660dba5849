"""Any container to mono int16 samples at 16 kHz, by PyAV (FFmpeg)."""

import contextlib
import io
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from pipelines.audio.containers import (
    ALLOWED_FORMATS,
    EXACT_DURATIONS,
    SIGNATURE_BYTES,
    check_audio_header,
    missing_wav_bytes,
    plausible_duration_s,
    refusal,
)
from pipelines.domain.audio import SAMPLE_RATE_HZ, Recording
from pipelines.domain.job import Upload
from pipelines.domain.samples import Samples
from pipelines.errors import AudioDamaged, TooLarge, UnsupportedMedia

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

BLOCK_SAMPLES = 4 * SAMPLE_RATE_HZ
_MAX_BROKEN_READS = 64
"""A container that breaks off this often while its packets are read is given up where it is."""
_MISSING_END_S = 1.0
"""A header may claim this much more than was decoded before the end counts as missing."""
_MISSING_END_BYTES = 4_096


class PyavDecoder:
    """Implements AudioDecoder. Stateless: one instance serves any number of recordings and threads."""

    def probe(self, source: BinaryIO, upload: Upload) -> Recording:
        """Read the headers; see AudioDecoder.probe."""
        container, stream = _open(source)
        with container:
            codec = stream.codec_context
            return Recording(
                filename=upload.filename,
                sha256=upload.sha256,
                bytes=upload.bytes,
                duration_s=_claimed_duration_s(container, stream),
                container=container.format.name,
                codec=codec.name,
                channels=codec.channels,
                sample_rate_hz=codec.sample_rate,
            )

    def decode(self, source: BinaryIO, *, max_duration_s: float) -> "DecodedBlocks":
        """Open ``source`` and return its blocks of 4 s; see AudioDecoder.decode."""
        return DecodedBlocks(source, max_duration_s=max_duration_s)


class DecodedBlocks:
    """Implements SamplesIterator over one open container."""

    def __init__(self, source: BinaryIO, *, max_duration_s: float) -> None:
        self._head = _head_of(source)
        self._missing_bytes = missing_wav_bytes(self._head, source.seek(0, io.SEEK_END))
        self._container, self._stream = _open(source)
        self._max_samples = round(max_duration_s * SAMPLE_RATE_HZ)
        self._damaged_packets = 0
        self._decoded_samples = 0
        self._blocks = self._decode()
        self.warnings: tuple[str, ...] = ()

    def __iter__(self) -> "DecodedBlocks":
        return self

    def __next__(self) -> Samples:
        import av

        try:
            return next(self._blocks)
        except (av.FFmpegError, ValueError, OverflowError) as error:  # a frame that cannot be mixed or resampled
            self.close()
            raise AudioDamaged("the recording breaks off: what follows cannot be decoded", "file") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the container."""
        self._blocks.close()
        self._container.close()

    def _decode(self) -> Generator[Samples, None, None]:
        waiting: list[Samples] = []
        for samples in resampled(self._frames()):
            self._count(samples)
            waiting.append(samples)
            if sum(map(len, waiting)) >= BLOCK_SAMPLES:
                joined = np.concatenate(waiting)
                whole = len(joined) - len(joined) % BLOCK_SAMPLES
                yield from np.split(joined[:whole], whole // BLOCK_SAMPLES)
                waiting = [joined[whole:]]
        if sum(map(len, waiting)):
            yield np.concatenate(waiting)
        self._judge_end()

    def _count(self, samples: Samples) -> None:
        self._decoded_samples += len(samples)
        if self._decoded_samples > self._max_samples:
            limit_s = self._max_samples / SAMPLE_RATE_HZ
            raise TooLarge(f"the recording is longer than the limit of {limit_s:.0f} s", "file")

    def _frames(self) -> Iterator["AudioFrame"]:
        import av

        for packet in self._packets():
            try:
                yield from packet.decode()
            except EOFError:
                return
            except av.FFmpegError:
                self._damaged_packets += 1

    def _packets(self) -> Iterator["Packet[AudioStream]"]:
        import av

        for _ in range(_MAX_BROKEN_READS):
            try:
                yield from self._container.demux(self._stream)
            except av.FFmpegError:
                self._damaged_packets += 1
            else:
                return

    def _judge_end(self) -> None:
        decoded_s = self._decoded_samples / SAMPLE_RATE_HZ
        claimed_s = None
        if self._container.format.name in EXACT_DURATIONS and not self._container.streams.video:
            claimed_s = _claimed_duration_s(self._container, self._stream)
        if not self._decoded_samples and (self._damaged_packets or claimed_s):
            raise refusal(self._head)
        if claimed_s is not None and claimed_s - decoded_s > _MISSING_END_S:
            self.warnings = (
                f"the file says that it lasts {claimed_s:.1f} s, but only {decoded_s:.1f} s could be decoded",
            )
        elif self._missing_bytes > _MISSING_END_BYTES:
            self.warnings = (f"the file is cut off: its last {self._missing_bytes} bytes are missing",)
        elif self._damaged_packets:
            self.warnings = (f"{self._damaged_packets} damaged places of the recording were skipped",)


def _head_of(source: BinaryIO) -> bytes:
    source.seek(0)
    head = source.read(SIGNATURE_BYTES)
    source.seek(0)
    return head


def _open(source: BinaryIO) -> tuple["InputContainer", "AudioStream"]:
    """Open the container and its audio stream. Raises UnsupportedMedia and AudioDamaged."""
    import av

    head = _head_of(source)
    try:
        container = av.open(
            source, "r", metadata_errors="replace", container_options={"format_whitelist": ALLOWED_FORMATS}
        )
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise refusal(head) from error
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(container.close)
        stream = _audio_stream(container)
        on_failure.pop_all()
    return container, stream


def _audio_stream(container: "InputContainer") -> "AudioStream":
    stream = container.streams.best("audio")
    if stream is None:
        raise UnsupportedMedia("the file has no audio track", "file")
    codec = stream.codec_context
    if codec is None:
        raise UnsupportedMedia("the audio track is in a format that cannot be decoded", "file")
    audio: AudioStream = stream  # type: ignore[assignment]  # best("audio") returns nothing else
    check_audio_header(channels=audio.codec_context.channels, sample_rate_hz=audio.codec_context.sample_rate)
    return audio


def _claimed_duration_s(container: "InputContainer", stream: "AudioStream") -> float | None:
    if stream.duration is not None and stream.time_base:
        return plausible_duration_s(float(stream.duration * stream.time_base))
    return plausible_duration_s(container.duration / 1_000_000 if container.duration is not None else None)


_GAP_S, _CLOCK_JUMP_S = 0.25, 60.0
"""A gap between two frames of at least the first is filled with silence, so that times stay those of the recording
(lost packets, silence that was not sent); beyond the second the container's clock was reset, and says nothing."""


def resampled(frames: Iterator["AudioFrame"]) -> Iterator[Samples]:
    """Bring frames to mono 16 kHz int16; a change of rate, layout or format in the middle starts a new resampler."""
    resampler, shape, clock = None, None, _Clock()
    for frame in frames:
        frame_shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        gap_s = clock.gap_before(frame)
        if resampler is not None and (gap_s or frame_shape != shape):
            yield from resampler.finish()
            resampler = None
        if gap_s:
            yield np.zeros(round(gap_s * SAMPLE_RATE_HZ), dtype=np.int16)
        if resampler is None:
            check_audio_header(channels=frame.layout.nb_channels, sample_rate_hz=frame.sample_rate)
            resampler, shape = _Resampler(frame.sample_rate), frame_shape
        yield from resampler.push(frame)
    if resampler is not None:
        yield from resampler.finish()


class _Resampler:
    """Resamples frames of one shape, a second at a time: a call for each frame of 20 ms costs three times more."""

    def __init__(self, rate_hz: int) -> None:
        from av.audio.fifo import AudioFifo
        from av.audio.resampler import AudioResampler

        self._rate_hz = rate_hz
        self._waiting = AudioFifo()
        self._resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)

    def push(self, frame: "AudioFrame") -> Iterator[Samples]:
        """Take a frame; yield what is ready."""
        frame.pts = None  # neither queue nor resampler must act on a broken clock
        self._waiting.write(frame)
        if self._waiting.samples >= self._rate_hz:
            yield from self._convert(self._waiting.read())

    def finish(self) -> Iterator[Samples]:
        """Yield the rest."""
        if self._waiting.samples:
            yield from self._convert(self._waiting.read())
        yield from self._convert(None)

    def _convert(self, frame: "AudioFrame | None") -> Iterator[Samples]:
        for converted in self._resampler.resample(frame):
            if converted is not None:
                yield converted.to_ndarray().reshape(-1).astype(np.int16, copy=False)


class _Clock:
    """Compares the container's timestamps with the samples that were really there."""

    def __init__(self) -> None:
        self._expected_s: float | None = None

    def gap_before(self, frame: "AudioFrame") -> float:
        """Return the seconds that are missing between the last frame and this one; 0.0 for less than 0.25 s."""
        stamped_s, expected_s = frame.time, self._expected_s
        gap_s = 0.0 if stamped_s is None or expected_s is None else stamped_s - expected_s
        start_s = stamped_s if stamped_s is not None else expected_s or 0.0
        if abs(gap_s) < _GAP_S and expected_s is not None:
            start_s = expected_s
        self._expected_s = start_s + frame.samples / frame.sample_rate
        return gap_s if _GAP_S <= gap_s <= _CLOCK_JUMP_S else 0.0

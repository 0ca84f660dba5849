"""Any container to mono int16 samples at 16 kHz, by PyAV (FFmpeg)."""

import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from pipelines.audio.channels import ChannelMeter
from pipelines.audio.containers import (
    ALLOWED_FORMATS,
    EXACT_DURATIONS,
    SIGNATURE_BYTES,
    FilePart,
    PartOfFile,
    check_audio_header,
    find_parts,
    missing_wav_bytes,
    plausible_duration_s,
    refusal,
)
from pipelines.audio.mixing import BLOCK_SAMPLES, Mixer, Timeline, joined_warning
from pipelines.domain.audio import SAMPLE_RATE_HZ, AudioWarning, ChannelReport, Recording, WarningCode
from pipelines.domain.job import Upload
from pipelines.domain.samples import Samples
from pipelines.errors import AudioDamaged, TooLarge, UnsupportedMedia

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_MAX_BROKEN_READS = 64
"""A container that breaks off this often while its packets are read is given up where it is."""
_MISSING_END_S = 1.0
"""A header may claim this much more than was decoded before the end counts as missing."""
_MISSING_END_BYTES = 4_096
_SILENT = 104.0
"""Quieter than −50 dBFS (root mean square of a block), a track has nothing to say."""
_LONGEST_UNSTATED_GAP_S = 3_600.0
"""Of a container that does not say how long it lasts, a longer gap is a broken clock."""
_CLOCK_RESTARTS = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT: the container's clock may be set anew in the middle."""
_DEEP_PROBE = {"analyzeduration": "600000000", "probesize": "67108864"}
"""Ten minutes, 64 MiB: for containers whose sound begins long after their picture."""
_COMFORT_NOISE_BYTES = 6
"""An AMR frame of at most so many bytes says that nobody speaks (3GPP TS 26.101 and 26.201)."""
_TAGS = (b"ID3", b"TAG", b"APETAGEX")
"""Begin the tags that stand between two MP3 files one after another."""


class PyavDecoder:
    """Implements AudioDecoder. Stateless: one instance serves any number of recordings and threads."""

    def probe(self, source: BinaryIO, upload: Upload) -> Recording:
        """Read the headers; see AudioDecoder.probe."""
        parts = find_parts(source)
        tracks = _Tracks(source, parts[0])
        with tracks.container:
            codec, container = tracks.usable[0].codec_context, tracks.container.format.name
            exact = container in EXACT_DURATIONS
            durations = [_stated_s(tracks, parts[0]), *(_part_duration_s(source, part) for part in parts[1:])]
            known = [duration_s for duration_s in durations if duration_s is not None]
            return Recording(
                filename=upload.filename,
                sha256=upload.sha256,
                bytes=upload.bytes,
                duration_s=sum(known) if len(known) == len(durations) else None,
                duration_estimated=bool(known) and not exact,
                container=container,
                codec=codec.name,
                channels=codec.channels,
                sample_rate_hz=codec.sample_rate,
            )

    def decode(self, source: BinaryIO, *, max_duration_s: float, channel: int | None = None) -> "DecodedBlocks":
        """Open ``source`` and return its blocks of 4 s; see AudioDecoder.decode."""
        return DecodedBlocks(source, Mixer(channel=channel), max_duration_s=max_duration_s)

    def compare_channels(self, source: BinaryIO, *, max_duration_s: float) -> ChannelReport:
        """Decode all of ``source``; see AudioDecoder.compare_channels."""
        meter = ChannelMeter()
        blocks = DecodedBlocks(source, Mixer(observe=meter.add), max_duration_s=max_duration_s)
        with contextlib.closing(blocks):
            for _ in blocks:
                pass
        return meter.report()


class DecodedBlocks:
    """Implements SamplesIterator over one file, part by part."""

    def __init__(self, source: BinaryIO, mixer: Mixer, *, max_duration_s: float) -> None:
        self._source = source
        self._parts = find_parts(source)
        self._size = self._parts[-1].end
        self._mixer = mixer
        self._max_samples = round(max_duration_s * SAMPLE_RATE_HZ)
        self._part = _PartDecoder(source, self._parts[0], start_s=0.0, max_samples=self._max_samples)
        self._blocks = self._decode()
        self.warnings: tuple[AudioWarning, ...] = ()

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

    @property
    def read_share(self) -> float | None:
        """See SamplesIterator."""
        return min(1.0, self._part.read_bytes / self._size) if self._size else None

    def close(self) -> None:
        """Release the container."""
        self._blocks.close()
        self._part.close()

    def _decode(self) -> Generator[Samples, None, None]:
        waiting: list[Samples] = []
        for samples in self._mixed():
            if self._mixer.samples > self._max_samples:
                limit_s = self._max_samples / SAMPLE_RATE_HZ
                raise TooLarge(f"the recording is longer than the limit of {limit_s:.0f} s", "file")
            waiting.append(samples)
            if sum(map(len, waiting)) >= BLOCK_SAMPLES:
                joined = np.concatenate(waiting)
                whole = len(joined) - len(joined) % BLOCK_SAMPLES
                yield from np.split(joined[:whole], whole // BLOCK_SAMPLES)
                waiting = [joined[whole:]]
        if sum(map(len, waiting)):
            yield np.concatenate(waiting)
        self.warnings = (*self.warnings, *self._mixer.warnings())

    def _mixed(self) -> Iterator[Samples]:
        """Yield the samples of one part after the other; what is wrong with a further part does not end the first."""
        joins_s: list[float] = []
        for number, part in enumerate(self._parts):
            start_s = self._mixer.samples / SAMPLE_RATE_HZ
            if number:
                self._part.close()
                try:
                    left = self._max_samples - self._mixer.samples
                    self._part = _PartDecoder(self._source, part, start_s=start_s, max_samples=left)
                except UnsupportedMedia as error:
                    self.warnings += (AudioWarning(code="audio_damaged", message=error.message, start_s=start_s),)
                    continue
                joins_s.append(start_s)
            yield from self._part.mixed(self._mixer)
            self.warnings += tuple(self._part.warnings(is_first=not number))
        if joins_s:
            self.warnings += (joined_warning(joins_s),)


class _PartDecoder:
    """One recording of a file: its frames, and what was wrong with them."""

    def __init__(self, source: BinaryIO, part: FilePart, *, start_s: float, max_samples: int) -> None:
        """``max_samples``: of silent tracks, no more are decoded in search of one that is heard."""
        self._head = _head_of(source, part)
        self._missing_bytes = missing_wav_bytes(self._head, part.end - part.start)
        self._part = part
        self._tracks, self._track = _choose_track(source, part, max_samples)
        self._start_s = start_s
        container = self._tracks.container
        stated_s = _stated_s(self._tracks, part)
        may_restart = bool(container.format.flags & _CLOCK_RESTARTS) and container.format.name not in EXACT_DURATIONS

        def believes(stamp_s: float) -> bool:
            if may_restart or stated_s is None:
                return not may_restart and stamp_s - self._timeline.position_s < _LONGEST_UNSTATED_GAP_S
            return stamp_s <= stated_s + _MISSING_END_S

        origin_s = None if container.start_time is None else container.start_time / 1_000_000
        self._timeline = Timeline(origin_s=origin_s, start_s=start_s, believes=believes)
        self._stated_s = stated_s
        self._damages_s: list[float] = []
        self._is_damaged_here = False
        self.read_bytes = part.start
        """Position in the file."""

    def close(self) -> None:
        """Release the container."""
        self._tracks.container.close()

    def mixed(self, mixer: Mixer) -> Iterator[Samples]:
        """Yield the part's samples."""
        return mixer.mix(self._frames(), self._timeline)

    def _frames(self) -> Iterator["AudioFrame"]:
        import av

        undecoded_bytes = usual_bytes = 0
        for packet in self._packets():
            if packet.pos is not None:
                self.read_bytes = max(self.read_bytes, self._part.start + packet.pos)
            if undecoded_bytes and packet.size:
                self._note_damage()
                undecoded_bytes = 0
            try:
                for frame in packet.decode():
                    self._is_damaged_here = False
                    yield frame
                usual_bytes = packet.size or usual_bytes
            except EOFError:
                return
            except av.FFmpegError:
                if self._says_nothing(packet):
                    continue
                if packet.size < usual_bytes:
                    undecoded_bytes = packet.size  # of the last frame a part may be missing
                else:
                    self._note_damage()

    def _says_nothing(self, packet: "Packet[AudioStream]") -> bool:
        """Tell whether a packet that cannot be decoded is no damage: a pause that was not sent, or a tag."""
        is_pause = self._track.codec_context.name.startswith("amr") and packet.size <= _COMFORT_NOISE_BYTES
        return is_pause or bytes(packet).startswith(_TAGS)

    def _note_damage(self) -> None:
        if not self._is_damaged_here:
            self._damages_s.append(self._timeline.position_s)
        self._is_damaged_here = True

    def _packets(self) -> Iterator["Packet[AudioStream]"]:
        import av

        for _ in range(_MAX_BROKEN_READS):
            try:
                yield from self._tracks.container.demux(self._track)
            except av.FFmpegError:
                self._note_damage()
            else:
                return

    def warnings(self, *, is_first: bool) -> Iterator[AudioWarning]:
        """Say what was wrong. Raises AudioDamaged where the first part should have had sound and has none."""
        end_s = self._timeline.position_s
        decoded_s = end_s - self._start_s
        stated_s = self._stated_s if self._tracks.container.format.name in EXACT_DURATIONS else None
        if self._tracks.container.streams.video:
            stated_s = None
        if not decoded_s and (self._damages_s or stated_s) and is_first:
            raise refusal(self._head)
        if stated_s is not None and stated_s - decoded_s > _MISSING_END_S:
            message = f"the file says that it lasts {stated_s:.1f} s, but only {decoded_s:.1f} s could be decoded"
            yield _warning("audio_truncated", message, end_s, self._start_s + stated_s)
        elif self._missing_bytes > _MISSING_END_BYTES:
            message = f"the file is cut off: its last {self._missing_bytes} bytes are missing"
            yield _warning("audio_truncated", message, end_s)
        elif self._damages_s:
            places = "1 damaged place" if len(self._damages_s) == 1 else f"{len(self._damages_s)} damaged places"
            message = f"{places} of the recording could not be decoded"
            yield _warning("audio_damaged", message, self._damages_s[0], self._damages_s[-1])
        if self._part.stated_s is not None:
            message = (
                f"the file says that it lasts {self._part.stated_s:.1f} s, but holds {decoded_s:.1f} s: all were read"
            )
            yield _warning("audio_longer_than_stated", message, self._start_s + self._part.stated_s, end_s)
        yield from self._tracks.warnings(self._track)
        yield from self._timeline.warnings()


def _warning(code: WarningCode, message: str, start_s: float, end_s: float | None = None) -> AudioWarning:
    return AudioWarning(
        code=code, message=message, start_s=round(start_s, 3), end_s=None if end_s is None else round(end_s, 3)
    )


def _head_of(source: BinaryIO, part: FilePart) -> bytes:
    source.seek(part.start)
    head = source.read(SIGNATURE_BYTES)
    source.seek(0)
    return head


class _Tracks:
    """One open container, and its audio tracks: those that can be decoded, the default one first."""

    def __init__(self, source: BinaryIO, part: FilePart) -> None:
        """Raises UnsupportedMedia and AudioDamaged."""
        self.container = _open(source, part, {})
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(lambda: self.container.close())
            if self._has_late_sound():
                self.container.close()
                self.container = _open(source, part, _DEEP_PROBE)
            self.usable = self._find_usable()
            on_failure.pop_all()

    def _has_late_sound(self) -> bool:
        if any(_is_known(stream) for stream in self.container.streams.audio):
            return False
        return bool(self.container.streams.audio) or self.container.format.name in ("mpegts", "mpeg", "flv")

    def _find_usable(self) -> "list[AudioStream]":
        default = self.container.streams.best("audio")
        streams = [stream for stream in self.container.streams.audio if _is_known(stream)]
        if not streams:
            if any(stream.codec_context is None for stream in self.container.streams.audio):
                raise UnsupportedMedia("the audio track is in a format that cannot be decoded", "file")
            raise UnsupportedMedia("the file has no audio track", "file")
        streams.sort(key=lambda stream: default is None or stream.index != default.index)
        usable, problems = [], []
        for stream in streams:
            try:
                codec = stream.codec_context
                check_audio_header(channels=codec.channels, sample_rate_hz=codec.sample_rate)
            except AudioDamaged as error:
                problems.append(error)
            else:
                usable.append(stream)
        if not usable:
            raise problems[0]
        return usable

    def warnings(self, taken: "AudioStream") -> Iterator[AudioWarning]:
        """Say which tracks were not transcribed."""
        ignored = [stream for stream in self.container.streams.audio if stream.index != taken.index]
        if ignored:
            numbers = {stream.index: number for number, stream in enumerate(self.container.streams.audio, start=1)}
            named = ", ".join(f"{numbers[stream.index]}{_title(stream)}" for stream in ignored)
            message = f"only audio track {numbers[taken.index]}{_title(taken)} was transcribed, not {named}"
            yield AudioWarning(code="tracks_ignored", message=message)


def _is_known(stream: "AudioStream") -> bool:
    codec = stream.codec_context
    return codec is not None and codec.channels > 0 and codec.sample_rate > 0


def _title(stream: "AudioStream") -> str:
    said = [text for text in (stream.language, stream.metadata.get("title")) if text and text != "und"]
    return f" ({', '.join(said)})" if said else ""


_MOST_TRACKS = 16
"""Further ones are not listened to."""


def _choose_track(source: BinaryIO, part: FilePart, max_samples: int) -> "tuple[_Tracks, AudioStream]":
    """Open the part, with the first of its tracks that can be decoded and is not silent; else with the default one."""
    tracks = _Tracks(source, part)
    indices = [stream.index for stream in tracks.usable]
    if len(tracks.container.streams.audio) == 1:
        return tracks, tracks.usable[0]
    tracks.container.close()
    mixer = Mixer()
    for heard in indices[:_MOST_TRACKS]:
        if mixer.samples <= max_samples and _is_heard(source, part, heard, mixer, max_samples):
            break
    else:
        heard = indices[0]
    tracks = _Tracks(source, part)
    return tracks, next(stream for stream in tracks.usable if stream.index == heard)


def _is_heard(source: BinaryIO, part: FilePart, index: int, mixer: Mixer, max_samples: int) -> bool:
    """Decode a track until something is heard: of most, a second."""
    import av

    tracks = _Tracks(source, part)
    stream = next(stream for stream in tracks.usable if stream.index == index)

    def frames() -> Iterator["AudioFrame"]:
        for packet in tracks.container.demux(stream):
            with contextlib.suppress(av.FFmpegError, EOFError):
                yield from packet.decode()

    timeline = Timeline(origin_s=None, start_s=0.0, believes=lambda _: False)
    with tracks.container, contextlib.suppress(av.FFmpegError, ValueError, OverflowError, AudioDamaged):
        for samples in mixer.mix(frames(), timeline):
            if len(samples) and np.square(samples, dtype=np.float32).mean() > _SILENT**2:
                return True
            if mixer.samples > max_samples:
                return False
    return False


def _open(source: BinaryIO, part: FilePart, options: dict[str, str]) -> "InputContainer":
    """Open the container. Raises UnsupportedMedia and AudioDamaged."""
    import av

    if part.stated_s is not None:
        options = {**options, "ignore_length": "1"}
    try:
        return av.open(
            PartOfFile(source, part),
            "r",
            metadata_errors="replace",
            container_options={"format_whitelist": ALLOWED_FORMATS, **options},
        )
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise refusal(_head_of(source, part)) from error


def _stated_s(tracks: _Tracks, part: FilePart) -> float | None:
    """Return when the sound ends by the container, in seconds from where a player begins."""
    container, stream = tracks.container, tracks.usable[0]
    if part.duration_s is not None:
        return plausible_duration_s(part.duration_s)
    if stream.duration is not None and stream.time_base:
        late_s = 0.0
        if stream.start_time is not None and container.start_time is not None:
            late_s = max(0.0, float(stream.start_time * stream.time_base) - container.start_time / 1_000_000)
        return plausible_duration_s(late_s + float(stream.duration * stream.time_base))
    return plausible_duration_s(container.duration / 1_000_000 if container.duration is not None else None)


def _part_duration_s(source: BinaryIO, part: FilePart) -> float | None:
    """Return the duration of a further part; 0.0 where it holds none."""
    try:
        tracks = _Tracks(source, part)
    except UnsupportedMedia:
        return 0.0
    with tracks.container:
        return _stated_s(tracks, part)

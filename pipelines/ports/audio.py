"""What turns the bytes of a recording into windows of speech."""

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import BinaryIO, Protocol

from pipelines.domain.audio import (
    AudioExtent,
    AudioSource,
    AudioWarning,
    ChannelReport,
    PieceCut,
    Recording,
    RecordingPiece,
    TimeSpan,
    Waveform,
    Window,
    WindowingOptions,
)
from pipelines.domain.job import Upload
from pipelines.domain.samples import Samples


class AudioDecoder(Protocol):
    """Turns any container into samples. Synchronous: it runs in a Ray task or a thread, never on an event loop."""

    def probe(self, source: BinaryIO, upload: Upload) -> Recording:
        """Read the container's headers only.

        Raises UnsupportedMedia (no audio stream, not a container), AudioDamaged (headers that cannot be: 0 Hz).
        """
        ...

    def decode(self, source: BinaryIO, *, max_duration_s: float, channel: int | None = None) -> "SamplesIterator":
        """Yield mono int16 blocks at 16 kHz of at most a few seconds each, in order, without gaps.

        Time begins where a player begins: sound that sets in after the picture comes after silence, and holes in the
        container's time are filled with it. Memory does not grow with the recording. Channels are mixed down; where
        they cancel each other, the loudest is taken. Of several tracks the default one is taken, or the first that
        can be decoded and is not silent. Recordings one after another in one file are read one after another. What is
        damaged is skipped. Each of these has its warning. Raises UnsupportedMedia before the first block, AudioDamaged
        where nothing can be decoded, TooLarge once more than ``max_duration_s`` has been decoded.
        """
        ...

    def compare_channels(self, source: BinaryIO, *, max_duration_s: float) -> ChannelReport:
        """Decode the whole recording and say how its two channels relate. Raises as ``decode`` does."""
        ...


class SamplesIterator(Protocol):
    """An iterator of sample blocks that owns decoder state, which ``close`` releases."""

    @property
    def warnings(self) -> tuple[AudioWarning, ...]:
        """What was wrong but did not stop decoding (a missing end, damaged places); complete once exhausted."""
        ...

    @property
    def read_share(self) -> float | None:
        """How much of the recording's bytes has been read, 0–1; None where that is unknown."""
        ...

    def __iter__(self) -> "SamplesIterator": ...
    def __next__(self) -> Samples: ...
    def close(self) -> None:
        """Release what the decoder holds; a no-op when exhausted or closed before."""
        ...


class SpeechDetector(Protocol):
    """Finds speech in a stream of samples. Synchronous, cheap, on CPU; one instance serves one recording."""

    def push(self, block: Samples) -> Sequence[TimeSpan]:
        """Take the next samples (any number) and return the speech spans that are certain to have ended, padded.

        Spans are in seconds from the first sample pushed, sorted, and never overlap or change once returned. Speech
        that goes on for more than MAX_SPEECH_PIECE_S is returned in pieces that abut; other spans never do.
        """
        ...

    def finish(self) -> Sequence[TimeSpan]:
        """No more samples will come: return the last span, if speech was under way. The instance is spent."""
        ...


class SpeechMeter(Protocol):
    """Says how likely it is that somebody speaks, as sound comes in. Synchronous, on CPU; one instance a session."""

    def push(self, block: Samples) -> Sequence[float]:
        """Take the next samples (any number); return a probability for each 512 of them (32 ms) that are complete."""
        ...


class RecordingReader(Protocol):
    """Reads a stored recording: decoding, speech detection and cutting, wherever that CPU work is done.

    Probing never waits for readings that are under way: an upload is answered after it. Whoever leaves a call ends its
    work. Besides what is said below, raises DependencyError where the work cannot be done now.
    """

    async def probe(self, upload: Upload) -> Recording:
        """Read the headers of the artifact ``upload.artifact``; raises as AudioDecoder.probe does."""
        ...

    async def channels(self, artifact: str, *, max_duration_s: float) -> ChannelReport:
        """Decode the whole recording and say how its two channels relate; raises as AudioDecoder.decode does."""
        ...

    def windows(
        self, source: str | AudioSource, options: WindowingOptions, *, first_index: int = 0
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        """Yield the recording's windows in order while it is still being decoded, then one AudioExtent, and end.

        The cut depends on the audio and the options alone: a second read yields the same windows. Windows before
        ``first_index`` are skipped (cut, but not yielded). The producer waits when the consumer is slow (bounded
        memory), and stops when the generator is closed. Raises as AudioDecoder.decode does.
        """
        ...

    def pieces(
        self, source: str | AudioSource, cut: PieceCut, *, max_duration_s: float, skip: Collection[int] = ()
    ) -> AsyncGenerator[RecordingPiece, None]:
        """Yield the recording in pieces, in order, while it is being decoded; those whose index is in ``skip`` are not.

        The last piece is as long as what is left. Waits and stops as ``windows`` does; raises as AudioDecoder.decode.
        """
        ...

    async def samples(self, artifact: str, *, max_duration_s: float, lead: Sequence[str] = ()) -> object:
        """Return the whole recording as one int16 array, or an opaque reference that the Diarizer resolves.

        Before it come the recordings ``lead``, each filled with silence to LEAD_S.
        """
        ...

    async def waveform(self, artifact: str, *, max_duration_s: float) -> Waveform:
        """Decode the recording for its peaks alone, in constant memory. Raises as AudioDecoder.decode does."""
        ...


class RecordingFetcher(Protocol):
    """Brings recordings from addresses that tenants name."""

    async def fetch(self, url: str, upload: Upload) -> Upload:
        """Bring what is at ``url`` to ``upload.artifact``, and return it counted and hashed.

        Called again after whatever ended an earlier call, it goes on where that stopped. Raises AddressRefused,
        SourceUnreachable, TooLarge, UnsupportedMedia, ArtifactStoreUnavailable.
        """
        ...

"""Recordings, the speech in them, and the windows that models see."""

from dataclasses import dataclass
from typing import Literal

SAMPLE_RATE_HZ = 16_000
"""Every model here hears mono audio at this rate; decoding brings any recording to it."""

MAX_WINDOW_S = 30.0
"""Whisper's encoder sees 3,000 frames of 10 ms (Radford et al. 2022); no window is longer."""

MAX_SPEECH_PIECE_S = 10.0
"""A detector returns speech that goes on for longer in pieces that abut, so that nobody has to hold all of it."""


LEAD_S = 12.0
"""How long each recording is made that is read before another one: a voice that is known, and a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a container says about itself, and what was counted while it was received."""

    filename: str
    """As the client named it, for people; never part of a path."""
    sha256: str
    """Of the received bytes, in hexadecimal."""
    bytes: int
    duration_s: float | None
    """As probed; None where the container does not say. Decoding counts the truth."""
    duration_estimated: bool = False
    """True where the container does not say, and the duration was reckoned from its size and bit rate: it may be many
    times too long or too short, and refuses nothing."""
    container: str
    codec: str
    channels: int
    sample_rate_hz: int

    @property
    def exact_duration_s(self) -> float | None:
        """The duration where the container says it, not where it was reckoned: what may refuse a recording."""
        return None if self.duration_estimated else self.duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpan:
    """A half-open stretch of a recording, in seconds from its start."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    def overlap_s(self, other: "TimeSpan") -> float:
        """Seconds that both spans cover; 0.0 where they do not meet."""
        return max(0.0, min(self.end_s, other.end_s) - max(self.start_s, other.start_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """At most 30 s of a recording, cut at silence, ready for one pass of the model."""

    index: int
    """0-based position in the recording; with the recording it identifies the window."""
    start_s: float
    end_s: float
    speech: tuple[TimeSpan, ...]
    """Where the detector heard speech inside this window, in seconds from the start of the *recording*."""
    read_share: float | None = None
    """How much of the recording's bytes had been read when this window was cut, 0–1; None where that is unknown."""
    samples: object
    """int16 mono samples at 16 kHz, shape ``(round((end_s - start_s) * 16000),)``; or an opaque reference to them,
    which the Transcriber that belongs to the RecordingReader resolves (a Ray ObjectRef, so that audio never passes
    through the process that orchestrates)."""

    @property
    def speech_s(self) -> float:
        """Seconds of detected speech."""
        return sum(span.duration_s for span in self.speech)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowingOptions:
    """How speech is found and cut (names and defaults as in faster-whisper and Silero VAD)."""

    threshold: float = 0.5
    """Speech probability from which a frame counts as speech."""
    min_silence_duration_ms: int = 500
    """Shorter pauses do not end a speech span."""
    speech_pad_ms: int = 400
    """Added before and after each speech span."""
    max_window_s: float = MAX_WINDOW_S
    max_duration_s: float = 12 * 3600.0
    """Decoded audio beyond this is TooLarge: seconds are counted while decoding, whatever the container claimed."""


WarningCode = Literal[
    "audio_truncated",
    "audio_damaged",
    "audio_longer_than_stated",
    "recordings_joined",
    "tracks_ignored",
    "mix_cancelled",
    "times_uncertain",
    "languages_differ",
    "channels_not_split",
]
"""Stable names of what may be uncertain about a transcript because of the recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioWarning:
    """Something about a recording that its owner should know, though it was transcribed."""

    code: WarningCode
    message: str
    """In words for the recording's owner."""
    start_s: float | None = None
    """Where it begins, and ends, in seconds from the start of the recording; None: nowhere in particular."""
    end_s: float | None = None


ChannelMode = Literal["auto", "mix", "split"]
"""How two channels are heard; ``auto``: apart where each holds a speaker of its own."""
ChannelRelation = Literal["same", "opposite", "one_silent", "two_speakers", "stereo"]
"""Of two channels: dual mono, dual mono with opposite phase, nothing in one, a speaker in each, or a scene in both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReport:
    """How the two channels of a recording relate."""

    relation: ChannelRelation
    correlation: float
    """−1 to 1, over the whole recording."""
    louder: int
    """0 or 1."""
    one_sided: float
    """Share of the sound that is 12 dB louder in one channel than in the other, 0–1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelChoice:
    """Which channels of a recording are heard, each for itself; none: their mix."""

    heard: tuple[int, ...] = ()
    relation: ChannelRelation | None = None
    """None: nobody looked."""
    warnings: tuple[AudioWarning, ...] = ()

    @property
    def is_split(self) -> bool:
        """Whether there is a speaker a channel."""
        return len(self.heard) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSource:
    """What is heard of a stored recording."""

    artifact: str
    channel: int | None = None
    """0-based; None: the mix of all."""


def source_of(source: str | AudioSource) -> AudioSource:
    """Return a source; a bare key means the mix."""
    return AudioSource(artifact=source) if isinstance(source, str) else source


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceCut:
    """How a long recording is cut into pieces that can be heard apart: where, and how much of what lies around each."""

    own_samples: int
    """From the start of one piece to that of the next."""
    before_samples: int = 0
    after_samples: int = 0
    """A rest that is not longer belongs to the piece before it, which has it anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPiece:
    """A part of a recording, with what lies around it; all in samples from the recording's start."""

    index: int
    start: int
    end: int
    """Of the piece itself: the pieces of a recording abut."""
    samples_start: int
    """Where ``samples`` begin: at the start or before it."""
    samples: object
    """int16 mono at 16 kHz, or an opaque reference as a Window's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudness:
    """How loud each of equally long stretches of a recording is, from its start on; the last may be shorter."""

    step_s: float
    levels_dbfs: tuple[int, ...]
    """Root mean square in decibels of full scale, rounded up; -99 for digital silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioExtent:
    """What was found when a recording had been decoded to its end."""

    duration_s: float
    speech_s: float
    """Seconds in which speech was detected."""
    loudness: Loudness | None = None
    warnings: tuple[AudioWarning, ...] = ()
    """What was wrong with the container but did not stop decoding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """How loud a recording is over its length, for a player to draw."""

    duration_s: float
    """As decoded."""
    peaks: tuple[int, ...]
    """The largest absolute sample of each of equally long stretches, in percent of full scale; a few thousand."""

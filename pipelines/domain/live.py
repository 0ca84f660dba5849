"""Live sessions: how one is set up, and what it tells. Times are seconds from the first sample of the session."""

from dataclasses import dataclass
from typing import Literal

from pipelines.domain.transcript import Segment

Codec = Literal["pcm", "ulaw", "alaw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    """Of the bytes that come in; mono."""

    codec: Codec = "pcm"
    """``pcm``: 16 bit, little-endian; ``ulaw`` and ``alaw``: ITU-T G.711."""
    rate_hz: int = 24_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """How the end of a turn is heard (names and defaults as OpenAI's ``server_vad`` has them)."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    """Sound before the first speech that belongs to the turn."""
    silence_duration_ms: int = 500
    """Silence that ends a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """One session."""

    turns: TurnOptions | None = TurnOptions()
    """None: the client says where a turn ends."""
    language: str | None = None
    """None: heard in each turn."""
    languages: tuple[str, ...] = ()
    """Of which one is spoken, where more than one is possible; empty: any."""
    prompt: str | None = None
    """Names and terms to expect."""
    update_interval_s: float | None = 1.0
    """New sound after which text that may still change is made; None: only at the end of a turn."""
    beam_size: int = 5
    """Of the final decoding; what may still change is decoded greedily."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEvent:
    """Of one turn, numbered from 0 in the session."""

    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(LiveEvent):
    """Somebody began to speak."""

    start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStopped(LiveEvent):
    """The silence that ends a turn has passed."""

    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCommitted(LiveEvent):
    """The turn takes no more sound; its final text will come."""

    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial(LiveEvent):
    """What was understood until now."""

    added: str
    """Newly agreed text: it stands, and follows what was added before. With the space before it, if there is one."""
    tentative: str
    """What follows, as it looks now; it may change."""
    lag_s: float
    """Sound that has come in since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eager(LiveEvent):
    """What the turn's text will be, if nobody goes on speaking."""

    text: str
    lag_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(LiveEvent):
    """Somebody did go on: the eager text before this is void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final(LiveEvent):
    """The turn's text: all that was added in its partials, and ``added``. It equals the last eager text not resumed."""

    text: str
    added: str
    start_s: float
    end_s: float
    segments: tuple[Segment, ...]
    """With words; none where nothing was understood."""
    language: str | None
    lag_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechUnrecognized(LiveEvent):
    """The detector heard speech of which no text came."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(LiveEvent):
    """The model could not be asked: what was added until now is all there is of the turn."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBehind(LiveEvent):
    """The model takes longer than the speech: only ends of turns are decoded until it has caught up."""

    lag_s: float

"""What was said: words, segments, transcripts, and how they were decoded."""

from dataclasses import dataclass, replace
from typing import Literal

from pipelines.domain.audio import AudioWarning, Loudness
from pipelines.domain.model import Urgency
from pipelines.domain.writing import join_texts

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word; ``text`` has no surrounding white space."""

    text: str
    start_s: float
    end_s: float
    speaker: str | None = None
    confidence: float | None = None
    """Mean token probability, 0–1."""
    aligned: bool = True
    """False: somebody wrote it, and its time is its share of the span in which it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech of one speaker; times are seconds from the start of the recording."""

    id: int
    start_s: float
    end_s: float
    text: str
    speaker: str | None = None
    confidence: float | None = None
    """exp(average log-probability), 0–1."""
    words: tuple[Word, ...] = ()
    """Empty unless word timestamps were asked for."""
    language: str | None = None
    """Where it is not the transcript's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A whole recording as text. Segments are sorted by start and numbered from 0."""

    language: str
    """BCP 47 code as Whisper uses it ("en")."""
    duration_s: float
    segments: tuple[Segment, ...] = ()

    @property
    def text(self) -> str:
        """All segments, joined as their scripts do."""
        return join_texts(segment.text for segment in self.segments)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Distinct speakers in the order in which they first speak."""
        return tuple(dict.fromkeys(segment.speaker for segment in self.segments if segment.speaker))

    def without_words(self) -> "Transcript":
        """The same transcript without word times, for whoever did not ask for them."""
        return replace(self, segments=tuple(replace(segment, words=()) for segment in self.segments))


RevisionOrigin = Literal["job", "correction", "speakers", "retry"]
"""How a revision came to be: by the job's stages, by a reader's hand, or by a retry that made the transcript anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A transcript as it was from one change to the next. Number 1 is what the job made."""

    number: int
    transcript: Transcript
    origin: RevisionOrigin = "job"
    author: str = ""
    """Whose key it was, as far as that may be shown: never the key itself."""
    created_at: str | None = None
    """UTC, RFC 3339; None of what the job made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """How a window is decoded (names and defaults as in faster-whisper)."""

    language: str | None = None
    """None: detected once per recording, from its first windows."""
    task: Task = "transcribe"
    beam_size: int = 5
    prompt: str | None = None
    """Names and terms to expect; given to every window."""
    word_timestamps: bool = False
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """The first is used in the batch; the others one after another when a window is decoded again alone."""
    compression_ratio_threshold: float = 2.4
    """Above it the text repeats itself: decode again."""
    log_prob_threshold: float = -1.0
    """Below it the model was guessing: decode again."""
    no_speech_threshold: float = 0.6
    """Above it, and below log_prob_threshold: there is no speech, keep no text."""
    urgency: Urgency = Urgency.BULK
    """Order in the model's batch queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTranscript:
    """What the Transcriber made of one window. Times are seconds from the start of the recording."""

    index: int
    start_s: float
    end_s: float
    language: str
    segments: tuple[Segment, ...]
    """Ids are local to the window; empty where nothing was said."""
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float
    redecoded: bool = False
    """True where the batch's result looked wrong and the window was decoded again alone."""
    tokens: int = 0
    channel: int | None = None
    """Where the channels of a recording are heard apart."""
    read_share: float | None = None
    """As of the window; see Window."""
    language_probability: float | None = None
    """0–1, where the language was heard in this window; None where it was given."""

    @property
    def text(self) -> str:
        """All segments, joined as their scripts do."""
        return join_texts(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageGuess:
    """The language heard in a window, with its probability (1.0 for an English-only model)."""

    language: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedSpan:
    """Detected speech of at least 0.5 s that no kept segment overlaps."""

    start_s: float
    end_s: float
    reason: str
    """``no_text`` (the model wrote nothing), ``no_speech`` (it judged there to be none), ``repetition`` (discarded)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionReport:
    """A transcript and what is known about how it came to be."""

    transcript: Transcript
    speech_s: float
    windows: int
    redecoded_windows: int
    dropped_spans: tuple[DroppedSpan, ...] = ()
    confidence: float | None = None
    """Duration-weighted mean of the segments' confidences; None without text."""
    warnings: tuple[AudioWarning, ...] = ()
    """What the recording's owner should know about it."""
    loudness: Loudness | None = None
    """Measured while the recording was read; None where an older version made the report."""


_TABLE = """
af Afrikaans, am Amharic, ar Arabic, as Assamese, az Azerbaijani, ba Bashkir, be Belarusian, bg Bulgarian, bn Bengali,
bo Tibetan, br Breton, bs Bosnian, ca Catalan, cs Czech, cy Welsh, da Danish, de German, el Greek, en English,
es Spanish, et Estonian, eu Basque, fa Persian, fi Finnish, fo Faroese, fr French, gl Galician, gu Gujarati, ha Hausa,
haw Hawaiian, he Hebrew, hi Hindi, hr Croatian, ht Haitian Creole, hu Hungarian, hy Armenian, id Indonesian,
is Icelandic, it Italian, ja Japanese, jw Javanese, ka Georgian, kk Kazakh, km Khmer, kn Kannada, ko Korean, la Latin,
lb Luxembourgish, ln Lingala, lo Lao, lt Lithuanian, lv Latvian, mg Malagasy, mi Maori, mk Macedonian, ml Malayalam,
mn Mongolian, mr Marathi, ms Malay, mt Maltese, my Burmese, ne Nepali, nl Dutch, nn Nynorsk, no Norwegian, oc Occitan,
pa Punjabi, pl Polish, ps Pashto, pt Portuguese, ro Romanian, ru Russian, sa Sanskrit, sd Sindhi, si Sinhala, sk Slovak,
sl Slovenian, sn Shona, so Somali, sq Albanian, sr Serbian, su Sundanese, sv Swedish, sw Swahili, ta Tamil, te Telugu,
tg Tajik, th Thai, tk Turkmen, tl Tagalog, tr Turkish, tt Tatar, uk Ukrainian, ur Urdu, uz Uzbek, vi Vietnamese,
yi Yiddish, yo Yoruba, yue Cantonese, zh Chinese
"""
_ENTRIES = (entry.split(maxsplit=1) for entry in _TABLE.replace("\n", " ").split(","))
LANGUAGE_NAMES: dict[str, str] = {code: name.strip() for code, name in _ENTRIES}


def language_name(code: str) -> str:
    """Return the English name of a language; the code itself where it is not known (``pt-BR`` is Portuguese)."""
    return LANGUAGE_NAMES.get(primary_language(code), code)


def primary_language(code: str) -> str:
    """Return the language without script or region: ``pt-BR`` is ``pt``."""
    return code.split("-")[0].lower()

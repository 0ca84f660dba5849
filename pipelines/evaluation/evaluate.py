"""One recording measured, and many of them summed up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pipelines.domain.transcript import Transcript, Word
from pipelines.evaluation.references import Reference
from pipelines.evaluation.scores import (
    Aligned,
    DiarizationScores,
    ErrorCounts,
    align_words,
    calibration_error,
    character_errors,
    diarization_scores,
    normalize,
    speaker_word_errors,
    texts_by_speaker,
    word_errors,
    word_time_errors,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A stretch of the alignment, and where it can be heard; times are None where no word of the transcript is near."""

    part: str
    reference: str
    hypothesis: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A recording's errors; what its reference does not say is None."""

    audio: str
    language: str
    duration_s: float
    words: ErrorCounts | None = None
    characters: ErrorCounts | None = None
    speaker_words: ErrorCounts | None = None
    """Of cpWER."""
    diarization: DiarizationScores | None = None
    word_time_error_s: float | None = None
    """Median of how far the starts of right words are off."""
    calibration_error: float | None = None
    rtf: float | None = None
    alignment: tuple[Difference, ...] = ()


def measure_transcript(audio: str, reference: Reference, transcript: Transcript, rtf: float | None = None) -> Measured:
    """Compare a transcript with what was really said, in the transcript's language."""
    language = transcript.language
    words = [word for segment in transcript.segments for word in segment.words]
    theirs = normalize(reference.text, language) if reference.text is not None else None
    ours = normalize(transcript.text, language)
    times = word_time_errors(reference.words, words, language) if reference.words and words else []
    spoken = [segment for segment in reference.segments if segment.speaker]
    told_apart = bool(transcript.speakers)
    return Measured(
        audio=audio,
        language=language,
        duration_s=transcript.duration_s,
        words=word_errors(theirs, ours) if theirs is not None else None,
        characters=character_errors(theirs, ours) if theirs is not None else None,
        speaker_words=speaker_word_errors(
            texts_by_speaker(Transcript(language=language, duration_s=0.0, segments=reference.segments)),
            texts_by_speaker(transcript),
        )
        if spoken and told_apart
        else None,
        diarization=diarization_scores(reference.turns, transcript.segments)
        if reference.turns and told_apart
        else None,
        word_time_error_s=median(times) if times else None,
        calibration_error=calibration_error(theirs, words, language) if theirs and words else None,
        rtf=rtf,
        alignment=tuple(_differences(theirs, transcript, words)) if theirs is not None else (),
    )


def _differences(reference: str, transcript: Transcript, words: Sequence[Word]) -> list[Difference]:
    """Align normalized words, each with the time of the word, or of the segment, that it was written in."""
    parts = words or transcript.segments
    timed = [
        (token, part.start_s, part.end_s)
        for part in parts
        for token in normalize(part.text, transcript.language).split()
    ]
    tokens = [token for token, _, _ in timed]
    return [_difference(chunk, timed) for chunk in align_words(reference.split(), tokens)]


def _difference(chunk: Aligned, timed: Sequence[tuple[str, float, float]]) -> Difference:
    first, last = chunk.hypothesis_start, chunk.hypothesis_start + len(chunk.hypothesis)
    # What was left out lies between the words around it.
    near = timed[first:last] or timed[max(0, first - 1) : first + 1]
    return Difference(
        part=chunk.part,
        reference=" ".join(chunk.reference),
        hypothesis=" ".join(chunk.hypothesis),
        start_s=near[0][1] if near else None,
        end_s=near[-1][2] if near else None,
    )


def summarize(measured: Sequence[Measured]) -> Mapping[str, float | int | None]:
    """Return one figure of each kind over all recordings: counts are summed, the rest weighted by duration."""
    return {
        "recordings": len(measured),
        "duration_s": round(sum(each.duration_s for each in measured), 3),
        "wer": _rate([each.words for each in measured]),
        "cer": _rate([each.characters for each in measured]),
        "cpwer": _rate([each.speaker_words for each in measured]),
        "der": _mean([(each.diarization.der[0.0], each.duration_s) for each in measured if each.diarization]),
        "der_collar": _mean([(each.diarization.der[0.25], each.duration_s) for each in measured if each.diarization]),
        "jer": _mean([(each.diarization.jer, each.duration_s) for each in measured if each.diarization]),
        "speakers_right": _mean(
            [
                (float(found.reference_speakers == found.hypothesis_speakers), 1.0)
                for each in measured
                if (found := each.diarization)
            ]
        ),
        "word_time_error_s": _mean([(each.word_time_error_s, each.duration_s) for each in measured]),
        "calibration_error": _mean([(each.calibration_error, each.duration_s) for each in measured]),
        "rtf": _mean([(each.rtf, each.duration_s) for each in measured]),
    }


def _rate(counts: Sequence[ErrorCounts | None]) -> float | None:
    rate = sum((each for each in counts if each is not None), ErrorCounts()).rate
    return round(rate, 5) if rate is not None else None


def _mean(weighted: Sequence[tuple[float | None, float]]) -> float | None:
    known = [(value, weight) for value, weight in weighted if value is not None]
    total = sum(weight for _, weight in known)
    return round(sum(value * weight for value, weight in known) / total, 5) if total else None

"""Speakers who are known by a sample of their voice.

Samples are diarized together with the recording, before it: whoever speaks in a sample and in the recording is one
speaker of one clustering, and needs no voice print that anybody would have to keep.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.domain.audio import LEAD_S, TimeSpan
from pipelines.domain.speakers import Diarization, DiarizationOptions, SpeakerTurn
from pipelines.errors import InvalidRequest
from pipelines.ports.audio import RecordingReader
from pipelines.ports.models import Diarizer


async def diarize_with_references(
    reader: RecordingReader,
    diarizer: Diarizer,
    artifact: str,
    references: Mapping[str, str],
    *,
    max_duration_s: float,
) -> Diarization:
    """Diarize the artifact; speakers who are heard in a reference (name → artifact) bear its name.

    Raises as RecordingReader.samples and Diarizer.diarize do.
    """
    samples = await reader.samples(artifact, max_duration_s=max_duration_s, lead=tuple(references.values()))
    # Who is sampled under two names is one: no number of speakers can be asked for.
    return name_speakers(await diarizer.diarize(samples, DiarizationOptions()), tuple(references))


def name_speakers(heard: Diarization, names: Sequence[str]) -> Diarization:
    """Return the turns after the samples, on the recording's own time line; ``heard`` begins with a sample a name.

    Who speaks longest in a sample bears its name, if nobody else's sample has more of him.
    """
    spoken: Counter[tuple[str, str]] = Counter()
    for turn in heard.exclusive_turns:
        said = TimeSpan(start_s=turn.start_s, end_s=turn.end_s)
        for place, name in enumerate(names):
            slot = TimeSpan(start_s=place * LEAD_S, end_s=(place + 1) * LEAD_S)
            spoken[name, turn.speaker] += round(1000 * slot.overlap_s(said))
    named: dict[str, str] = {}
    for (name, speaker), milliseconds in spoken.most_common():
        if milliseconds and speaker not in named and name not in named.values():
            named[speaker] = name
    lead_s = len(names) * LEAD_S
    return Diarization(
        turns=_after(heard.turns, lead_s, named), exclusive_turns=_after(heard.exclusive_turns, lead_s, named)
    )


def check_references(names: Sequence[str], references: Sequence[str], *, most: int = 4) -> None:
    """Raise InvalidRequest, naming the field, for names without samples, or too many of them."""
    if len(names) != len(references):
        raise InvalidRequest("give a sample for each name, in the same order", "known_speaker_references")
    if len(names) > most:
        raise InvalidRequest(f"at most {most} speakers can be known", "known_speaker_names")
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise InvalidRequest("names must differ, and none may be empty", "known_speaker_names")
    if any(re.fullmatch(r"SPEAKER_\d+", name) for name in names):
        raise InvalidRequest("SPEAKER_00 and the like are who is not known", "known_speaker_names")


def _after(turns: Sequence[SpeakerTurn], lead_s: float, named: Mapping[str, str]) -> tuple[SpeakerTurn, ...]:
    return tuple(
        replace(
            turn,
            start_s=round(max(0.0, turn.start_s - lead_s), 3),
            end_s=round(turn.end_s - lead_s, 3),
            speaker=named.get(turn.speaker, turn.speaker),
        )
        for turn in turns
        if turn.end_s > lead_s
    )

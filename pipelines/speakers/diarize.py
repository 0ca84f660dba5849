"""Who speaks when in a stored recording."""

from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.errors import DiarizationTooLong, InvalidRequest, TooLarge
from pipelines.ports.audio import RecordingReader
from pipelines.ports.models import CallModel, Diarizer, call_at_once

MAX_DURATION_S = 2 * 3600.0
"""Clustering compares every stretch of speech with every other: memory grows with the square of the duration."""


async def diarize_recording(
    reader: RecordingReader,
    diarizer: Diarizer,
    artifact: str,
    options: DiarizationOptions | None = None,
    *,
    max_duration_s: float = MAX_DURATION_S,
    call_model: CallModel = call_at_once,
) -> Diarization:
    """Decode the artifact and diarize all of it at once, by ``call_model``.

    Raises DiarizationTooLong (counted while decoding, whatever the container says), InvalidRequest (numbers of
    speakers that contradict each other), and as RecordingReader.samples and Diarizer.diarize do.
    """
    options = options or DiarizationOptions()
    require_possible(options)
    try:
        samples = await reader.samples(artifact, max_duration_s=max_duration_s)
    except TooLarge as error:
        raise DiarizationTooLong(f"diarization takes recordings of at most {max_duration_s:.0f} s") from error
    return await call_model(lambda: diarizer.diarize(samples, options))


def require_possible(options: DiarizationOptions) -> None:
    """Raise InvalidRequest, naming the field, for numbers of speakers that cannot be."""
    for name in ("num_speakers", "min_speakers", "max_speakers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InvalidRequest(f"{name} must be at least 1", name)
    if (options.min_speakers or 1) > (options.max_speakers or options.min_speakers or 1):
        raise InvalidRequest("min_speakers is larger than max_speakers", "min_speakers")

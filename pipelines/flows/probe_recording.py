"""A recording's headers, and whether they rule out what is asked."""

from pipelines.domain.audio import Recording
from pipelines.domain.job import Feature, JobRequest, Upload
from pipelines.errors import AudioTooShort, DiarizationTooLong, TooLarge
from pipelines.flows.recording_ports import ProcessingOptions
from pipelines.ports import RecordingReader


async def probe_recording(
    reader: RecordingReader, upload: Upload, request: JobRequest, options: ProcessingOptions
) -> Recording:
    """Return what the container says. Raises UnsupportedMedia, AudioDamaged, and as ``check_duration``."""
    recording = await reader.probe(upload)
    check_duration(recording.duration_s, request, options)
    return recording


def check_duration(duration_s: float | None, request: JobRequest, options: ProcessingOptions) -> None:
    """Raise AudioTooShort, TooLarge or DiarizationTooLong for a duration, believed (a header) or counted (decoded)."""
    if duration_s is None:
        return
    if duration_s < options.minimum_duration_s:
        raise AudioTooShort(f"a recording must last at least {options.minimum_duration_s:g} s", "file")
    if duration_s > options.windowing.max_duration_s:
        hours = options.windowing.max_duration_s / 3600
        raise TooLarge(f"the recording lasts longer than the {hours:g} h that are taken", "file")
    if Feature.DIARIZATION in request.features and duration_s > options.max_diarization_s:
        hours = options.max_diarization_s / 3600
        raise DiarizationTooLong(f"diarization takes recordings of at most {hours:g} h", "features")

"""What processing a recording needs: ports, and numbers that bound it."""

from dataclasses import dataclass, field

from pipelines.domain.audio import WindowingOptions
from pipelines.domain.job import JobRequest
from pipelines.errors import AudioTooShort, DiarizationTooLong, TooLarge
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.audio import RecordingFetcher, RecordingReader
from pipelines.ports.language import Understanding
from pipelines.ports.models import Diarizer, Embedder, Transcriber
from pipelines.ports.passages import PassageStore


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPorts:
    """Ports of one runner. None: features that need it are refused with NotAvailable."""

    reader: RecordingReader
    transcriber: Transcriber
    artifacts: ArtifactStore
    diarizer: Diarizer | None = None
    embedder: Embedder | None = None
    passages: PassageStore | None = None
    understanding: Understanding | None = None
    fetcher: RecordingFetcher | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingOptions:
    """Bounds of a job; defaults as in the design's decisions."""

    windowing: WindowingOptions = field(default_factory=WindowingOptions)
    minimum_duration_s: float = 1.0
    """Shorter recordings fail with AudioTooShort."""
    max_diarization_s: float = 12 * 3600.0
    """Longest recording for diarization; beyond it DiarizationTooLong. A diarizer that takes no pieces has a limit of
    its own, below."""
    windows_at_once: int | None = None
    """Windows of all jobs of a runner that are at its transcribers together; None: as many as its jobs have."""
    diarizations_at_once: int | None = None
    """Recordings, or pieces of them, of all jobs of a runner that are at its diarizers together."""
    timeout_base_s: float = 600.0
    """A run of a job may work this …"""
    timeout_factor: float = 3.0
    """… plus this × the recording's duration (3 on CPU, 1 on GPU); then it fails with DeadlineExceeded."""

    @property
    def pieces_at_once(self) -> int:
        """How many pieces of one recording are held together: one more than there is room for, which is read ahead."""
        return 1 + (self.diarizations_at_once or 3)

    def timeout_s(self, duration_s: float | None) -> float:
        """Return how long one run of a job may work; an unknown duration counts as the longest allowed."""
        known = self.windowing.max_duration_s if duration_s is None else duration_s
        return self.timeout_base_s + self.timeout_factor * min(known, self.windowing.max_duration_s)

    def check_duration(self, duration_s: float | None, request: JobRequest) -> None:
        """Raise AudioTooShort, TooLarge or DiarizationTooLong for a duration, believed (a header) or decoded."""
        if duration_s is None:
            return
        if duration_s < self.minimum_duration_s:
            raise AudioTooShort(f"a recording must last at least {self.minimum_duration_s:g} s", "file")
        if duration_s > self.windowing.max_duration_s:
            hours = self.windowing.max_duration_s / 3600
            raise TooLarge(f"the recording lasts longer than the {hours:g} h that are taken", "file")
        if "diarization" in request.features and duration_s > self.max_diarization_s:
            hours = self.max_diarization_s / 3600
            raise DiarizationTooLong(f"diarization takes recordings of at most {hours:g} h", "features")

"""One recording from bytes to windows, in one thread: what a RecordingReader runs, wherever it runs it."""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import BinaryIO

from pipelines.domain.audio import SAMPLE_RATE_HZ, AudioExtent, TimeSpan, Window, WindowingOptions
from pipelines.ports import AudioDecoder, SpeechDetector
from pipelines.steps.cut_windows import WindowCutter


def read_windows(
    decoder: AudioDecoder,
    detector: SpeechDetector,
    source: BinaryIO,
    options: WindowingOptions,
    first_index: int = 0,
) -> Generator[Window | AudioExtent, None, None]:
    """Yield windows from ``first_index`` on while decoding goes on, then the extent of the whole recording.

    Synchronous and CPU-bound; memory does not grow with the recording. Raises as AudioDecoder.decode does.
    """
    cutter = WindowCutter(options)
    decoded, speech_s = 0, 0.0
    with closing(decoder.decode(source, max_duration_s=options.max_duration_s)) as blocks:
        for block in blocks:
            decoded += len(block)
            spans = detector.push(block)
            speech_s += _total_s(spans)
            yield from _from_index(cutter.push(block, spans), first_index)
        spans = detector.finish()
        speech_s += _total_s(spans)
        yield from _from_index(cutter.finish(spans), first_index)
        yield AudioExtent(duration_s=decoded / SAMPLE_RATE_HZ, speech_s=speech_s, warnings=tuple(blocks.warnings))


def _total_s(spans: Sequence[TimeSpan]) -> float:
    return sum(span.duration_s for span in spans)


def _from_index(windows: list[Window], first_index: int) -> list[Window]:
    return [window for window in windows if window.index >= first_index]

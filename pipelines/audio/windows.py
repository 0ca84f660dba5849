"""Speech cut into windows that a model takes, while the recording is still being decoded."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from pipelines.audio.loudness import LoudnessMeter
from pipelines.domain.audio import MAX_SPEECH_PIECE_S, SAMPLE_RATE_HZ, AudioExtent, TimeSpan, Window, WindowingOptions
from pipelines.domain.samples import Samples
from pipelines.ports.audio import AudioDecoder, SpeechDetector

MAX_PAUSE_S = 5.0
"""A longer pause begins a new window: models invent text in long silence."""
_LATENESS_S = 3.0
"""A detector returns a span at most this long after the silence and padding that end it."""
_PAUSE_SEARCH_SHARE = 1 / 3
"""Speech without a pause that a detector reports is cut in the last third of the window, in its longest short one. Of
67 such cuts in prompts put together 0.4 s apart 4 fell into a prompt, where the quietest 160 ms gave 14; 0.25 s apart,
13 of 62 and 16 of 60."""
_PAUSE_LEVEL = 0.3
"""Where between the quietest and the median loudness, on a logarithmic scale, a pause ends."""
_QUIET_FRAME_SAMPLES, _QUIET_FRAMES = 320, 8
"""Loudness is measured over 20 ms and smoothed over 160 ms: about a syllable."""

Span = tuple[int, int]
"""First sample and the one after the last, counted from the start of the recording."""


class WindowCutter:
    """Cuts one recording. Holds at most about a minute of samples, whatever the recording's length."""

    def __init__(self, options: WindowingOptions) -> None:
        self._max_samples = round(options.max_window_s * SAMPLE_RATE_HZ)
        ending_ms = options.min_silence_duration_ms + 2 * options.speech_pad_ms
        self._lateness = _seconds(_LATENESS_S + ending_ms / 1000)
        self._buffer = _SampleBuffer()
        self._open: list[Span] = []
        self._index = 0

    @property
    def held_samples(self) -> int:
        """How many samples are held now."""
        return self._buffer.end - self._buffer.start

    def push(self, block: Samples, spans: Iterable[TimeSpan]) -> list[Window]:
        """Take the next samples and the spans that became certain with them; return the windows that are complete."""
        self._buffer.append(block)
        windows = [window for span in spans for window in self._add(_in_samples(span))]
        if self._open and self._buffer.end > self._last_news():
            windows.append(self._close_window())
        self._forget()
        return windows

    def finish(self, spans: Iterable[TimeSpan]) -> list[Window]:
        """Take the last spans and return the last windows."""
        windows = [window for span in spans for window in self._add(_in_samples(span))]
        return [*windows, self._close_window()] if self._open else windows

    def _add(self, span: Span) -> list[Window]:
        start, end = max(span[0], self._buffer.start), min(span[1], self._buffer.end)
        if end <= start:
            return []
        windows = []
        if self._open and start - self._open[-1][1] > _seconds(MAX_PAUSE_S):
            windows.append(self._close_window())
        self._append(start, end)
        while self._open[-1][1] - self._open[0][0] > self._max_samples:
            windows.append(self._close_first_part())
        return windows

    def _append(self, start: int, end: int) -> None:
        if self._open and self._open[-1][1] >= start:
            self._open[-1] = (self._open[-1][0], end)
        else:
            self._open.append((start, end))

    def _last_news(self) -> int:
        """Return until when a span may come that belongs into the open window, or that goes on from its end."""
        fitting = self._open[0][0] + self._max_samples
        continuing = self._open[-1][1] + _seconds(MAX_SPEECH_PIECE_S)
        return max(fitting, continuing) + self._lateness

    def _close_first_part(self) -> Window:
        """Close the open window before its last span, or inside it where it alone is too long."""
        *earlier, last = self._open
        if earlier:
            window = self._make_window(earlier)
            self._open = [last]
            return window
        cut = self._longest_pause(
            last[0] + round(self._max_samples * (1 - _PAUSE_SEARCH_SHARE)), last[0] + self._max_samples
        )
        self._open = [(cut, last[1])]
        return self._make_window([(last[0], cut)])

    def _longest_pause(self, start: int, end: int) -> int:
        """Return the middle of the longest pause, the latest of equals; without any, of the quietest 160 ms."""
        samples = self._buffer.slice(start, end).astype(np.float32)
        frames = len(samples) // _QUIET_FRAME_SAMPLES
        loudness = np.square(samples[: frames * _QUIET_FRAME_SAMPLES]).reshape(frames, -1).mean(axis=1)
        floor, usual = np.maximum(np.quantile(loudness, (0.02, 0.5)), 1.0)
        quiet = np.concatenate([[False], loudness < floor ** (1 - _PAUSE_LEVEL) * usual**_PAUSE_LEVEL, [False]])
        edges = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)[::-1]
        first, last = max(edges, key=lambda edge: edge[1] - edge[0], default=(0, 0))
        if last - first < _QUIET_FRAMES:
            smooth = np.convolve(loudness, np.ones(min(frames, _QUIET_FRAMES)), mode="valid")
            first = len(smooth) - 1 - int(np.argmin(smooth[::-1]))
            last = first + min(frames, _QUIET_FRAMES)
        return start + round((first + last) / 2 * _QUIET_FRAME_SAMPLES)

    def _close_window(self) -> Window:
        window = self._make_window(self._open)
        self._open = []
        return window

    def _make_window(self, spans: Sequence[Span]) -> Window:
        start, end = spans[0][0], spans[-1][1]
        window = Window(
            index=self._index,
            start_s=start / SAMPLE_RATE_HZ,
            end_s=end / SAMPLE_RATE_HZ,
            speech=tuple(TimeSpan(start_s=a / SAMPLE_RATE_HZ, end_s=b / SAMPLE_RATE_HZ) for a, b in spans),
            samples=self._buffer.slice(start, end),
        )
        self._index += 1
        return window

    def _forget(self) -> None:
        """Drop samples that no window can need: before the open one, or before any span that is still unknown."""
        unknown = self._buffer.end - _seconds(MAX_SPEECH_PIECE_S) - self._lateness
        self._buffer.drop_before(self._open[0][0] if self._open else unknown)


class _SampleBuffer:
    """The most recent samples, addressed by their position in the recording."""

    def __init__(self) -> None:
        self._samples: Samples = np.zeros(0, dtype=np.int16)
        self.start = 0

    @property
    def end(self) -> int:
        return self.start + len(self._samples)

    def append(self, block: Samples) -> None:
        self._samples = np.concatenate([self._samples, block])

    def slice(self, start: int, end: int) -> Samples:
        return self._samples[start - self.start : end - self.start].copy()

    def drop_before(self, position: int) -> None:
        if position > self.start:
            self._samples = self._samples[position - self.start :]
            self.start = position


def _in_samples(span: TimeSpan) -> Span:
    return round(span.start_s * SAMPLE_RATE_HZ), round(span.end_s * SAMPLE_RATE_HZ)


def _seconds(duration_s: float) -> int:
    return round(duration_s * SAMPLE_RATE_HZ)


def read_windows(
    decoder: AudioDecoder,
    detector: SpeechDetector,
    source: BinaryIO,
    options: WindowingOptions,
    first_index: int = 0,
    channel: int | None = None,
) -> Generator[Window | AudioExtent, None, None]:
    """Yield windows from ``first_index`` on while decoding goes on, then the extent of the whole recording.

    Synchronous and CPU-bound; memory does not grow with the recording. Raises as AudioDecoder.decode does.
    """
    cutter, meter = WindowCutter(options), LoudnessMeter()
    decoded, speech_s = 0, 0.0
    with closing(decoder.decode(source, max_duration_s=options.max_duration_s, channel=channel)) as blocks:
        for block in blocks:
            decoded += len(block)
            meter.push(block)
            spans = detector.push(block)
            speech_s += _total_s(spans)
            windows = [replace(window, read_share=blocks.read_share) for window in cutter.push(block, spans)]
            yield from _from_index(windows, first_index)
        spans = detector.finish()
        speech_s += _total_s(spans)
        yield from _from_index(cutter.finish(spans), first_index)
        yield AudioExtent(
            duration_s=decoded / SAMPLE_RATE_HZ,
            speech_s=speech_s,
            loudness=meter.finish(),
            warnings=blocks.warnings,
        )


def _total_s(spans: Sequence[TimeSpan]) -> float:
    return sum(span.duration_s for span in spans)


def _from_index(windows: list[Window], first_index: int) -> list[Window]:
    return [window for window in windows if window.index >= first_index]

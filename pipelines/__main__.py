"""Run a flow from a shell, without Ray: ``python -m pipelines transcribe clip.wav``."""

import argparse
import asyncio
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, get_args

from pipelines.domain.encoding import to_json
from pipelines.domain.job import Upload
from pipelines.domain.transcript import LANGUAGE_NAMES, TranscriptionOptions, TranscriptionReport, WindowTranscript
from pipelines.errors import ModelUnavailable, RayScribeError
from pipelines.recognition.formats import TranscriptFormat, write_transcript
from pipelines.recognition.transcribe import transcribe_recording

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DEMO_MODEL = Path(__file__).resolve().parents[1] / "demo" / "models" / "asr"
MODELS = Path.home() / ".rayscribe" / "models"
ENVIRONMENT_MODELS = Path(sys.prefix) / "models"
GENERAL_MODELS = ("small", "base", "tiny")
"""Looked for among the pulled models, best first; the demo model knows only the demo recordings."""
MOST_BEAMS, MOST_THREADS = 20, 256
EXIT_FAILURE = 2
EXIT_OUTPUT_CLOSED = 128 + 13
"""As of a program that SIGPIPE ends."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 with a line on stderr that says what is wrong, or 141 where nobody reads on."""
    options = _parser().parse_args(arguments)
    try:
        model = _model(options.model)
        report = asyncio.run(_transcribe(options, model))
    except (RayScribeError, OSError) as error:
        print(f"{options.recording.name}: {_reason(error)}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return 130
    for remark in _remarks(report, demo=model == DEMO_MODEL and options.model is None):
        print(f"{options.recording.name}: {remark}", file=sys.stderr)  # noqa: T201
    try:
        sys.stdout.write(_written(report, options.format))
        sys.stdout.flush()
    except BrokenPipeError:  # ``| head`` has read enough; what is still in the buffer must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OUTPUT_CLOSED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser(
        "transcribe", help="print what is said in a recording"
    )
    command.add_argument("recording", type=Path, help="any audio or video file")
    command.add_argument(
        "--model",
        type=Path,
        help=f"a faster-whisper folder (default: {', '.join(GENERAL_MODELS)} in {MODELS}, or what the environment has)",
    )
    command.add_argument("--format", choices=[*get_args(TranscriptFormat), "json"], default="text")
    command.add_argument("--words", action="store_true", help="align words with the audio")
    command.add_argument("--language", type=_language, help="as Whisper names it, such as en (default: detect)")
    command.add_argument("--beam-size", type=_between(1, MOST_BEAMS), default=5)
    command.add_argument("--threads", type=_between(1, MOST_THREADS), default=min(4, os.cpu_count() or 1))
    return parser


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text) if text.lstrip("+-").isdigit() else least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}")
        return value

    return number


def _language(text: str) -> str:
    codes = {name.lower(): code for code, name in LANGUAGE_NAMES.items()}
    code = codes.get(text.lower(), text.lower())
    if code in LANGUAGE_NAMES:
        return code
    near = difflib.get_close_matches(text.lower(), codes, n=1)
    hint = (
        f"did you mean {codes[near[0]]!r} ({LANGUAGE_NAMES[codes[near[0]]]})?" if near else "such as 'en', 'de', 'zh'"
    )
    raise argparse.ArgumentTypeError(f"is a code or an English name of a language, {hint} ({text!r} is none)")


def _model(folder: Path | None) -> Path:
    """Return the model's folder; raises ModelUnavailable."""
    if folder is None:
        pulled = (models / name for name in GENERAL_MODELS for models in (MODELS, ENVIRONMENT_MODELS))
        folder = next((path for path in pulled if (path / "model.bin").is_file()), None)
    if folder is None:
        return DEMO_MODEL
    if not folder.is_dir():
        raise ModelUnavailable(f"there is no folder {str(folder)!r}")
    if not (folder / "model.bin").is_file():
        raise ModelUnavailable(f"the folder {str(folder)!r} is no faster-whisper model: it holds no model.bin")
    return folder


def _remarks(report: TranscriptionReport, *, demo: bool) -> list[str]:
    remarks = [warning.message for warning in report.warnings]
    if not report.speech_s:
        remarks.append("nobody speaks in it")
    elif not report.transcript.segments:
        remarks.append(f"no words were made out in {report.speech_s:.1f} s of what may be speech")
    elif demo:
        remarks.append(
            "only the demo model is there, which knows the demo recordings and invents words for any other "
            "(rayscribe models pull base, or --model)"
        )
    return remarks


async def _transcribe(options: argparse.Namespace, folder: Path) -> TranscriptionReport:
    from pipelines.audio.decode import PyavDecoder
    from pipelines.audio.reader import LocalReader
    from pipelines.audio.speech import SileroDetector
    from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber

    reader = LocalReader(_open, PyavDecoder(), SileroDetector)
    path: Path = options.recording
    upload = Upload(filename=path.name, sha256="", bytes=0, artifact=str(path))
    recording = await reader.probe(upload)
    with _progress() as progress:
        task = progress.add_task(path.name, total=recording.duration_s)
        model = await FasterWhisperTranscriber.load(
            folder, name=folder.name, cpu_threads=options.threads, demo=folder == DEMO_MODEL
        )
        try:
            return await transcribe_recording(
                reader,
                model,
                upload.artifact,
                TranscriptionOptions(
                    language=options.language, beam_size=options.beam_size, word_timestamps=options.words
                ),
                on_window=_Shown(progress, task).window,
                min_duration_s=0.1,
            )
        finally:
            await model.close()


class _Shown:
    """Moves the progress bar to the end of each finished window."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    async def window(self, window: WindowTranscript) -> None:
        self._progress.update(self._task, completed=window.end_s)


def _open(artifact: str) -> AbstractContextManager[BinaryIO]:
    return Path(artifact).open("rb")


def _progress() -> "Progress":
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True)


def _written(report: TranscriptionReport, form: str) -> str:
    if form == "json":
        return to_json(report.transcript).decode() + "\n"
    return write_transcript(report.transcript, form)  # type: ignore[arg-type]  # argparse checked the choice


def _reason(error: RayScribeError | OSError) -> str:
    return str(error) if isinstance(error, RayScribeError) else (error.strerror or "cannot be read")


if __name__ == "__main__":
    sys.exit(main())

"""faster-whisper behind one ASGI route of OpenAI's shape and nothing else: what bench_clips compares the product with.

python -m bench.minimal_route MODEL --port 8123 --threads 1
"""

import argparse
from typing import Any

import uvicorn
from faster_whisper import WhisperModel
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def application(model: WhisperModel) -> Starlette:
    """Return the application; each request is one call of ``model.transcribe`` in a thread."""

    async def transcribe(request: Request) -> JSONResponse:
        async with request.form() as form:
            file: Any = form["file"]
            language = form.get("language")

            def text() -> str:
                segments, _ = model.transcribe(file.file, language=str(language) if language else None)
                return " ".join(segment.text.strip() for segment in segments)

            return JSONResponse({"text": await run_in_threadpool(text)})

    return Starlette(routes=[Route("/v1/audio/transcriptions", transcribe, methods=["POST"])])


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    model = WhisperModel(options.model, device="cpu", compute_type="int8", cpu_threads=options.threads)
    uvicorn.run(application(model), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()

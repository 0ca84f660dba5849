"""The HTTP application, as a function of its services."""

import mimetypes

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pipelines import __version__
from pipelines.domain.template import Skill
from pipelines.errors import RayScribeError
from serve_app.api.access import keys, sessions, usage, webhooks
from serve_app.api.compat import audio_rag, helpline, maie, queued_rag
from serve_app.api.compat.edge import DetailErrors
from serve_app.api.edge.audit import AuditLog
from serve_app.api.edge.authentication import AuthenticationMiddleware, KeyRing
from serve_app.api.edge.documentation import DESCRIPTION, TITLE
from serve_app.api.edge.errors import error_response
from serve_app.api.edge.limits import LimitMiddleware, Quotas, Rates, UsageMeter
from serve_app.api.edge.middleware import BodyLimitMiddleware, EdgeMiddleware, HeadMiddleware
from serve_app.api.edge.signatures import Signer
from serve_app.api.edge.uploads import UploadGate
from serve_app.api.jobs import audio as recordings
from serve_app.api.jobs import erasures, imports, jobs, revisions, transcripts
from serve_app.api.jobs import events as job_events
from serve_app.api.live import client_secrets, realtime
from serve_app.api.openai import chat as completions
from serve_app.api.openai import embeddings, models, transcriptions
from serve_app.api.operation import health, page
from serve_app.api.retrieval import bundles, chat, collections, search
from serve_app.api.text import skills as text_skills
from serve_app.api.text import templates
from serve_app.mcp.endpoint import mcp_routes
from serve_app.services import Services

UPLOAD_PATHS = frozenset(
    {
        "/v1/jobs", "/v1/transcripts", "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/process",
        "/api/v1/ingest", "/audio/process", "/whisper/transcribe",
    }
)  # fmt: skip
TEXT_PATHS = frozenset({"/translate", "/ner/extract", "/classifier/classify", "/summarizer/summarize", "/qa/evaluate"})
"""Text skills under the helpline's names."""
TOKEN_PATHS = frozenset({"/v1/chat", "/v1/chat/completions", "/chat", *(f"/v1/text/{skill.value}" for skill in Skill)})
"""What the language model works for."""
FORM_OVERHEAD_BYTES = 1 << 20
"""What a form may hold besides its file."""
_BYTES_PER_CHARACTER = 6
"""A character of JSON at its longest: ``\\u4e2d``."""
_COMPAT = (maie, audio_rag, queued_rag, helpline)
"""The four systems' own routes: their errors are ``{"detail": …}``."""
_RESOURCES = (
    jobs,
    imports,
    job_events,
    transcripts,
    revisions,
    recordings,
    search,
    bundles,
    collections,
    chat,
    text_skills,
    templates,
    realtime,
    client_secrets,
    transcriptions,
    completions,
    embeddings,
    models,
    health,
    keys,
    sessions,
    usage,
    webhooks,
    erasures,
    *_COMPAT,
    page,
)


def create_app(services: Services, *, proxy_sends_request_id: bool = False) -> FastAPI:
    """Build the application.

    ``proxy_sends_request_id``: True behind Ray Serve, whose proxy adds ``x-request-id`` to every answer by itself.
    """
    app = FastAPIOffline(
        title=TITLE,
        description=DESCRIPTION,
        version=__version__,
        redoc_url=None,
        static_url="/docs-assets",
        redirect_slashes=False,
    )
    # Reads the system's tables: now, and not in the event loop when the first static file is asked for.
    mimetypes.init()
    app.state.services = services
    live = services.settings.live
    app.state.live = realtime.LiveGate(live.sessions, live.refuse_lag_s)
    app.state.uploads = UploadGate(services.settings.limits.concurrent_uploads)
    for resource in _RESOURCES:
        # As they are: include_router() would build every route a second time, a tenth of a second in all.
        app.router.routes.extend(resource.router.routes)
    app.router.routes.extend(mcp_routes(services))
    for kind in (RayScribeError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)
    _add_layers(app, services, proxy_sends_request_id)
    return app


def _add_layers(app: FastAPI, services: Services, proxy_sends_request_id: bool) -> None:
    """Wrap the application; the layer added last is the outermost."""
    limits = services.settings.limits
    app.add_middleware(
        BodyLimitMiddleware,
        limit_bytes=limits.json_bytes,
        text_bytes=limits.json_bytes + _BYTES_PER_CHARACTER * limits.text_characters,
        text_paths=TEXT_PATHS,
        upload_bytes={
            **dict.fromkeys(UPLOAD_PATHS, limits.upload_bytes + FORM_OVERHEAD_BYTES),
            "/v1/collections/import": limits.import_bytes + FORM_OVERHEAD_BYTES,
        },
    )
    meter = UsageMeter(services.accounts)
    app.state.usage = meter
    app.add_middleware(
        LimitMiddleware,
        rates=Rates(limits, services.settings.data.redis_url),
        quotas=Quotas(limits, meter, services.accounts),
        meter=meter,
        kinds={**dict.fromkeys(UPLOAD_PATHS, "audio_s"), **dict.fromkeys({*TOKEN_PATHS, *TEXT_PATHS}, "tokens")},
    )
    app.state.signer = Signer(services.accounts)
    app.state.keys = KeyRing(services.settings, services.accounts)
    app.add_middleware(
        AuthenticationMiddleware, settings=services.settings, keys=app.state.keys, signer=app.state.signer
    )
    app.add_middleware(HeadMiddleware)
    app.add_middleware(
        EdgeMiddleware,
        metrics=services.metrics,
        audit=AuditLog(services.settings.data.audit_log),
        proxy_sends_request_id=proxy_sends_request_id,
    )
    app.add_middleware(DetailErrors, routes=[route for system in _COMPAT for route in system.router.routes])


async def _answer(_request: Request, error: Exception) -> Response:
    return error_response(error)

"""What settings say about answers: once, for requests and for jobs."""

from pipelines.domain.answer import SamplingOptions
from pipelines.flows.chat_ports import ChatOptions
from serve_app.settings import Settings


def chat_options(settings: Settings) -> ChatOptions:
    """Return the bounds of this deployment's answers; what the profile leaves open, the model's own config says."""
    own = settings.language_model
    return ChatOptions(
        context_tokens=own.context_tokens,
        sampling=SamplingOptions(temperature=own.temperature, top_p=own.top_p, max_tokens=own.max_tokens),
    )

"""A follow-up made into a question that can be looked up."""

import asyncio

from pipelines.domain.answer import ChatRequest, Completion, SamplingOptions
from pipelines.domain.model import Degradation
from pipelines.errors import DependencyError, InvalidRequest, ModelError, Overloaded
from pipelines.ports import LanguageModel
from pipelines.steps.build_prompt import build_rewrite_prompt, shown_history
from pipelines.steps.weigh_words import content_terms

MAX_MESSAGES = 100
MAX_MESSAGE_CHARACTERS = 20_000
MAX_QUESTION_CHARACTERS = 4_000
REWRITE_SAMPLING = SamplingOptions(temperature=0.0, max_tokens=128)
_FEW_TERMS = 3


def check_messages(request: ChatRequest) -> None:
    """Raise InvalidRequest for a conversation that asks nothing, or is too long to be read."""
    messages = request.messages
    if not messages or messages[-1].role != "user" or not messages[-1].content.strip():
        raise InvalidRequest("the last message must be the user's question", "messages")
    if len(messages[-1].content) > MAX_QUESTION_CHARACTERS:
        raise InvalidRequest(f"the question has more than {MAX_QUESTION_CHARACTERS} characters", "messages")
    if len(messages) > MAX_MESSAGES or any(len(message.content) > MAX_MESSAGE_CHARACTERS for message in messages):
        raise InvalidRequest(
            f"at most {MAX_MESSAGES} messages of at most {MAX_MESSAGE_CHARACTERS} characters are read", "messages"
        )


async def standalone_question(
    model: LanguageModel | None, request: ChatRequest, *, timeout_s: float
) -> tuple[str, Completion | None, tuple[Degradation, ...]]:
    """Return the question to look up, the model's completion if it wrote it, and what was not done as wanted.

    The first question of a conversation is taken as it is. A model that fails costs the rewriting alone.
    """
    question = request.messages[-1].content.strip()
    if not shown_history(request.messages[:-1]):
        return question, None, ()
    if model is None:
        return _with_context(request), None, ()
    try:
        async with asyncio.timeout(timeout_s):
            completion = await model.generate(build_rewrite_prompt(request.messages), sampling=REWRITE_SAMPLING)
    except (DependencyError, ModelError, Overloaded, TimeoutError) as error:
        reason = str(error) or "the language model took too long"
        degraded = Degradation(
            stage="rewrite", wanted="language model", used="the words of both questions", reason=reason
        )
        return _with_context(request), None, (degraded,)
    rewritten = completion.text.strip().strip("\"'").strip()
    usable = completion.finish_reason == "stop" and 0 < len(rewritten) <= MAX_QUESTION_CHARACTERS
    return (rewritten if usable else _with_context(request)), completion, ()


def _with_context(request: ChatRequest) -> str:
    """Put the question before it in front of one that says too little to be looked up."""
    asked = [message.content.strip() for message in request.messages if message.role == "user"]
    if len(asked) < 2 or len(content_terms(asked[-1])) >= _FEW_TERMS:
        return asked[-1]
    return f"{asked[-2]} {asked[-1]}"[-MAX_QUESTION_CHARACTERS:]

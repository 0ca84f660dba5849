"""A follow-up made into a question that can be looked up."""

import asyncio

from pipelines.domain.answer import ChatRequest, Completion, Message, SamplingOptions
from pipelines.domain.model import Degradation
from pipelines.errors import InvalidRequest, RayScribeError
from pipelines.flows.chat_ports import ChatOptions
from pipelines.flows.question_limits import MAX_MESSAGE_CHARACTERS, MAX_MESSAGES
from pipelines.flows.token_budget import TURN_TOKENS, context_length, count_tokens
from pipelines.ports import LanguageModel
from pipelines.steps.build_prompt import build_rewrite_prompt, fit_blocks, recent_messages, rewrite_line
from pipelines.steps.skip_thinking import without_thinking
from pipelines.steps.weigh_words import content_terms

_REWRITE_TOKENS = 128
REWRITE_SAMPLING = SamplingOptions(temperature=0.0, max_tokens=_REWRITE_TOKENS)
_LONGEST_MADE = 4_000
"""Characters of a question that is put together here: a model that writes more has not written a question."""
_FEW_TERMS = 3


def check_messages(request: ChatRequest) -> None:
    """Raise InvalidRequest for a conversation that asks nothing, or is too long to be read."""
    messages = request.messages
    if not messages or messages[-1].role != "user":
        raise InvalidRequest("the last message must be the user's question", "messages")
    if not messages[-1].content.strip():
        raise InvalidRequest("the question is empty", "messages")
    if len(messages) > MAX_MESSAGES or any(len(message.content) > MAX_MESSAGE_CHARACTERS for message in messages):
        raise InvalidRequest(
            f"at most {MAX_MESSAGES} messages of at most {MAX_MESSAGE_CHARACTERS} characters are read", "messages"
        )


async def standalone_question(
    model: LanguageModel | None, request: ChatRequest, options: ChatOptions
) -> tuple[str, Completion | None, tuple[Degradation, ...]]:
    """Return the question to look up, the model's completion if it wrote it, and what was not done as wanted.

    The first question of a conversation is taken as it is. A model that fails costs the rewriting alone.
    """
    question = request.messages[-1].content.strip()
    if not recent_messages(request.messages[:-1]):
        return question, None, ()
    if model is None:
        return _with_context(request), None, ()
    try:
        async with asyncio.timeout(options.rewrite_timeout_s):
            prompt = await _rewrite_prompt(model, request, options)
            completion = await model.generate(prompt, sampling=REWRITE_SAMPLING)
    except (RayScribeError, TimeoutError) as error:
        return _with_context(request), None, (_not_rewritten(str(error) or "the language model took too long"),)
    rewritten = without_thinking(completion.text).strip().strip("\"'").strip()
    if completion.finish_reason == "stop" and 0 < len(rewritten) <= _LONGEST_MADE:
        return rewritten, completion, ()
    return _with_context(request), completion, (_not_rewritten("the language model wrote no question"),)


async def _rewrite_prompt(model: LanguageModel, request: ChatRequest, options: ChatOptions) -> tuple[Message, ...]:
    """Return the prompt with as much of the conversation's end as fits. Raises InvalidRequest where none of it does."""
    context_tokens = context_length(await model.info(), options)
    question, history = request.messages[-1], recent_messages(request.messages[:-1])
    bare = build_rewrite_prompt([question])
    lines = [rewrite_line(message) for message in history]
    counts = await count_tokens(model, [*(message.content for message in bare), *lines], context_tokens=context_tokens)
    room = context_tokens - _REWRITE_TOKENS - sum(counts[: len(bare)]) - TURN_TOKENS * len(bare)
    kept = fit_blocks([tokens + 1 for tokens in reversed(counts[len(bare) :])], room)
    if kept == 0:
        raise InvalidRequest("the conversation leaves no room to rewrite the question", "messages")
    return build_rewrite_prompt([*history[-kept:], question])


def _not_rewritten(reason: str) -> Degradation:
    return Degradation(stage="rewrite", wanted="language model", used="the words of both questions", reason=reason)


def _with_context(request: ChatRequest) -> str:
    """Put the question before it in front of one that says too little to be looked up."""
    asked = [message.content.strip() for message in request.messages if message.role == "user"]
    if len(asked) < 2 or len(content_terms(asked[-1])) >= _FEW_TERMS:
        return asked[-1]
    return f"{asked[-2]} {asked[-1]}"[-_LONGEST_MADE:]

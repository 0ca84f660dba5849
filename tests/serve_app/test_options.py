"""What the operator sets for the language model reaches answers, in requests and in jobs."""

from unittest.mock import Mock

import pytest
from pydantic import ValidationError

from pipelines.domain.answer import SamplingOptions
from pipelines.language.engines.openai import Endpoint
from pipelines.retrieval.ports import ChatOptions
from serve_app.options import chat_options
from serve_app.ports import request_ports
from serve_app.settings import LanguageModelSettings, Settings

SET = Settings(language_model={"temperature": 0.7, "top_p": 0.8, "max_tokens": 33, "context_tokens": 2048})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            SET,
            ChatOptions(context_tokens=2048, sampling=SamplingOptions(temperature=0.7, top_p=0.8, max_tokens=33)),
        ),
        (Settings(), ChatOptions(context_tokens=LanguageModelSettings().context_tokens)),
    ],
)
def test_what_is_not_set_is_left_open(settings: Settings, expected: ChatOptions) -> None:
    assert chat_options(settings) == expected


def test_jobs_answer_as_requests_do() -> None:
    chat = request_ports(Mock(), SET).chat
    assert chat is not None
    assert chat.options == chat_options(SET)


def test_whoever_calls_the_model_gives_up_on_its_first_word_before_the_flow_does() -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="tiny")
    assert chat_options(Settings()).first_token_timeout_s > endpoint.first_token_timeout_s


def test_production_says_where_erasures_are_remembered() -> None:
    keys = [{"sha256": "0" * 64, "tenant": "acme"}]
    with pytest.raises(ValidationError, match=r"data\.erasure_journal"):
        Settings(profile="production", keys=keys)
    apart = Settings(profile="production", keys=keys, data={"erasure_journal": "s3://elsewhere/journal"})
    assert apart.data.erasures == "s3://elsewhere/journal"
    assert Settings(data={"folder": "/srv/data"}).data.erasures == "/srv/data.erasures"

"""What is particular to vLLM: how its engine is set up for guided answers, and what a model folder says about itself.

Requests and answers are the chat format of ``openai_chat``; the engine itself runs in a deployment of its own
(``serve_app/remote/language_model.py``). Needs no vLLM: that is imported where the engine runs.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from pipelines.checkpoints import checkpoint_hash
from pipelines.domain.model import LanguageModelInfo

TokenCounter = Callable[[str], int]
STRUCTURED_OUTPUT_BACKEND = "xgrammar"
_DEFAULT_CONTEXT_TOKENS = 4096


def engine_arguments(own: Mapping[str, object], *, context_tokens: int) -> dict[str, object]:
    """Return vLLM's engine arguments: ours, with what the operator sets on top.

    White space is disabled in guided JSON, because weak models loop on it. The model folder's generation config is
    switched off, because it is one level of our own hierarchy and would be applied twice. Prompts are not logged.
    """
    ours: dict[str, object] = {
        "max_model_len": context_tokens,
        "enable_log_requests": False,
        "generation_config": "vllm",
        "structured_outputs_config": {"backend": STRUCTURED_OUTPUT_BACKEND, "disable_any_whitespace": True},
    }
    return ours | dict(own)


def request_extras(arguments: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that every request carries: thinking is off, unless a reasoning parser takes it out again."""
    thinking = bool(arguments.get("reasoning_parser"))
    return {"chat_template_kwargs": {"enable_thinking": thinking}}


def describe_model(folder: Path, name: str, arguments: Mapping[str, object], *, device: str) -> LanguageModelInfo:
    """Read from the model's folder what stands in ``versions``. Raises OSError, ValueError (its files are broken)."""
    config = _read_json(folder / "config.json")
    longest = cast(int, config.get("max_position_embeddings") or _DEFAULT_CONTEXT_TOKENS)
    quantization = cast(Mapping[str, object], config.get("quantization_config") or {})
    return LanguageModelInfo(
        backend="vllm",
        name=name,
        path=str(folder),
        checkpoint_hash=checkpoint_hash(folder),
        compute_type=_text(arguments.get("dtype") or config.get("torch_dtype") or config.get("dtype")),
        device=device,
        capabilities=("structured_output",),
        context_tokens=min(longest, cast(int, arguments.get("max_model_len") or longest)),
        quantization=_text(arguments.get("quantization") or quantization.get("quant_method")),
        chat_template=_chat_template_hash(folder),
        thinking=bool(arguments.get("reasoning_parser")),
        reasoning_parser=_text(arguments.get("reasoning_parser")),
        structured_output_backend=STRUCTURED_OUTPUT_BACKEND,
        generation_config=_read_json(folder / "generation_config.json"),
    )


def load_tokenizer(folder: Path) -> TokenCounter:
    """Return a counter of tokens by the model's own tokenizer. Blocking; the counter may be called from any thread."""
    file = folder / "tokenizer.json"
    if file.exists():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(file))
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(folder, use_fast=False, local_files_only=True)
    return lambda text: len(slow.encode(text, add_special_tokens=False))


def _read_json(path: Path) -> dict[str, object]:
    """Return the object in a file; empty where there is no such file."""
    if not path.exists():
        return {}
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} does not hold an object")
    return value


def _chat_template_hash(folder: Path) -> str | None:
    """Return a hash of the chat template: a file of its own in newer folders, a field of the tokenizer in older."""
    file = folder / "chat_template.jinja"
    field = _read_json(folder / "tokenizer_config.json").get("chat_template")
    template = file.read_text(encoding="utf-8") if file.exists() else json.dumps(field) if field else None
    return f"sha256:{hashlib.sha256(template.encode()).hexdigest()}" if template else None


def _text(value: object) -> str | None:
    return str(value) if value else None

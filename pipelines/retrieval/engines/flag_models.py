"""What the models that FlagEmbedding loads share: loading, tokens, and how they are described."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipelines.checkpoints import checkpoint_hash, folder_bytes
from pipelines.domain.model import ModelInfo
from pipelines.errors import ModelUnavailable

ModelT = TypeVar("ModelT")

InfoT = TypeVar("InfoT", bound=ModelInfo)


def load_flag_model(build: Callable[[], ModelT], name: str, *, threads: int | None = None) -> ModelT:
    """Build a model; ``threads`` is how many torch may use in this process on a CPU (None: what it takes by itself).

    Raises ModelUnavailable, which names the model, for whatever the libraries raise.
    """
    try:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        from transformers.utils.logging import disable_progress_bar

        quiet: Callable[[], None] = disable_progress_bar
        quiet()
        return build()
    except Exception as error:
        raise ModelUnavailable(f"{name} could not be loaded ({type(error).__name__})") from error


def half_precision(device: str) -> bool:
    """Say whether weights are float16: on a GPU; CPUs compute in float32."""
    return device.startswith("cuda")


def tokenize(tokenizer: Any, texts: Sequence[str], *, max_tokens: int, device: str) -> Any:
    """Return a padded batch of tensors on the device, each text cut to ``max_tokens``."""
    return tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=True, return_tensors="pt").to(device)


def describe_flag_model(
    kind: type[InfoT], name: str, folder: Path, *, device: str, capabilities: tuple[str, ...], **fields: Any
) -> InfoT:
    """Return what stands in health, in the model list and in every job's ``versions``."""
    return kind(
        backend="flag-embedding",
        name=name,
        path=str(folder),
        checkpoint_hash=checkpoint_hash(folder),
        compute_type="float16" if half_precision(device) else "float32",
        device=device,
        memory_bytes=folder_bytes(folder),
        capabilities=capabilities,
        **fields,
    )

"""What the libraries under the models raise, translated: the one place, for every engine.

They say that memory is short, or that the device is lost, in words of their own and seldom by a class. The difference
matters: a smaller batch may fit; a CUDA context that an error has poisoned answers nothing any more, so that the
replica must be replaced; and what one input does to a model is that input's.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import ModelError, ModelOutOfMemory, ModelUnavailable, RayScribeError

_OUT_OF_MEMORY = (
    "out of memory",  # CTranslate2 and torch on CUDA
    "can't allocate memory",  # torch's allocator on the CPU
    "not enough memory",
    "status_alloc_failed",  # cuBLAS and cuDNN
    "bad_alloc",
)
_DEVICE_LOST = ("cuda", "cudnn", "cublas", "hip error", "nvrtc", "nccl", "device-side assert", "driver")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a smaller batch, or a smaller model, may do what just failed."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Tell whether the device, or the library that drives it, failed: whatever is asked next will fail too."""
    return isinstance(error, RuntimeError | OSError) and any(words in str(error).lower() for words in _DEVICE_LOST)


@contextmanager
def model_errors(model: str) -> Iterator[None]:
    """Translate what a library raises in this block; ``model`` names who failed, in words for people.

    Raises ModelOutOfMemory (a smaller batch may fit), ModelUnavailable (the device is lost: it counts for the breaker
    and for health) and ModelError (this input cannot be answered). Errors of our own tree pass unchanged.
    """
    try:
        yield
    except RayScribeError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise ModelOutOfMemory(f"{model}: out of memory") from error
        if is_device_lost(error):
            raise ModelUnavailable(f"{model} lost its device") from error
        raise ModelError(f"{model} failed ({type(error).__name__})") from error

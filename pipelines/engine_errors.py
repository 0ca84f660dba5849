"""How the libraries say that memory is short: each in its own words, and seldom by a class of its own."""

_WORDS = (
    "out of memory",  # CTranslate2 and torch on CUDA
    "can't allocate memory",  # torch's allocator on the CPU
    "not enough memory",
    "status_alloc_failed",  # cuBLAS and cuDNN
    "bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a smaller batch, or a smaller model, may do what just failed."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)

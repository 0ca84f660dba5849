"""What the libraries say, in their own words, and what it is taken for."""

import pytest

from pipelines.engine_errors import is_out_of_memory, model_errors
from pipelines.errors import InvalidRequest, ModelError, ModelOutOfMemory, ModelUnavailable, RayScribeError


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_lack_of_memory_is_known_by_its_words(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: device-side assert triggered"), ValueError("out of memory"), KeyError("x")]
)
def test_other_failures_are_not(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_torch_says_it_by_a_class_of_its_own() -> None:
    import torch

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.parametrize(
    ("raised", "translated"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), ModelOutOfMemory),
        (MemoryError(), ModelOutOfMemory),
        (RuntimeError("CUDA error: device-side assert triggered"), ModelUnavailable),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), ModelUnavailable),
        (RuntimeError("CUDA failed with error an illegal memory access was encountered"), ModelUnavailable),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), ModelError),
        (IndexError("list index out of range"), ModelError),
        (InvalidRequest("no", "field"), InvalidRequest),
    ],
)
def test_every_engine_translates_alike(raised: Exception, translated: type[RayScribeError]) -> None:
    with pytest.raises(RayScribeError) as caught, model_errors("the model"):
        raise raised
    assert type(caught.value) is translated
    assert "tensor" not in caught.value.message

"""What the models that FlagEmbedding loads share: loading, tokens, and calls gathered into batches."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipelines.checkpoints import checkpoint_hash, folder_bytes
from pipelines.domain.model import ModelInfo, ModelRole
from pipelines.engine_errors import is_out_of_memory
from pipelines.errors import ModelOutOfMemory, ModelUnavailable

ModelT = TypeVar("ModelT")


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


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn the out-of-memory errors of torch into ModelOutOfMemory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelOutOfMemory("the batch did not fit the device") from error


def describe_flag_model(
    role: ModelRole, name: str, folder: Path, *, device: str, capabilities: tuple[str, ...], **fields: Any
) -> ModelInfo:
    """Return what stands in health, in the model list and in every job's ``versions``."""
    return ModelInfo(
        role=role,
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


ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class GatheredCalls(Generic[ItemT, ResultT]):
    """While the model is busy, new items wait; when it is free, all that wait go in as one batch.

    So a lone caller never waits for company, and many callers fill batches by themselves. The model is only ever
    entered from one thread (Hugging Face's fast tokenizers fail with "Already borrowed" when two enter).
    """

    def __init__(self, run: Callable[[list[ItemT]], Sequence[ResultT]], *, max_items: int, name: str) -> None:
        """``run`` returns one result an item, in order; it is called with 1 to ``max_items`` of them."""
        self._run = run
        self.max_items = max_items
        """The most items a batch takes now: halved after each lack of memory."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._urgent: deque[tuple[ItemT, asyncio.Future[ResultT]]] = deque()
        self._waiting: deque[tuple[ItemT, asyncio.Future[ResultT]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False
        self.batches = 0
        """Batches run so far; with ``items`` it says how full they were."""
        self.items = 0

    async def submit(self, items: Sequence[ItemT], *, urgent: bool = False) -> list[ResultT]:
        """Return the items' results in order; urgent items go before those that wait.

        Cancelling the call takes back what has not begun. Raises what ``run`` raises, ModelUnavailable (closed).
        """
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[ResultT]] = [loop.create_future() for _ in items]
        (self._urgent if urgent else self._waiting).extend(zip(items, futures, strict=True))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return list(await asyncio.gather(*futures))

    def close(self) -> None:
        """Let the batch under way end, and run no other: who waits for one gets ModelUnavailable."""
        self._closed = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _work(self) -> None:
        try:
            while not self._closed and (batch := self._take()):
                await self._answer(batch)
        finally:  # also where closing took back a batch that the thread had not begun
            if self._closed:
                _fail([*self._urgent, *self._waiting], _closed())

    def _take(self) -> list[tuple[ItemT, "asyncio.Future[ResultT]"]]:
        batch: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        while len(batch) < self.max_items and (queue := self._urgent or self._waiting):
            item, future = queue.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _answer(self, batch: Sequence[tuple[ItemT, "asyncio.Future[ResultT]"]]) -> None:
        loop = asyncio.get_running_loop()
        self.batches += 1
        self.items += len(batch)
        try:
            results = await loop.run_in_executor(self._thread, self._run, [item for item, _ in batch])
        except ModelOutOfMemory as error:
            await self._answer_halves(batch, error)
        except asyncio.CancelledError:
            _fail(batch, _closed())
            raise
        except Exception as error:
            _fail(batch, _closed() if self._closed else error)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    async def _answer_halves(
        self, batch: Sequence[tuple[ItemT, "asyncio.Future[ResultT]"]], error: ModelOutOfMemory
    ) -> None:
        """What does not fit at once may fit in two goes; later batches are not tried at that size again."""
        if len(batch) == 1:
            _fail(batch, error)
            return
        middle = (len(batch) + 1) // 2
        self.max_items = min(self.max_items, middle)
        await self._answer(batch[:middle])
        await self._answer(batch[middle:])


def _closed() -> ModelUnavailable:
    return ModelUnavailable("the model is shutting down")


def _fail(batch: Sequence[tuple[ItemT, "asyncio.Future[ResultT]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)

"""Heavy imports that let everything else go first.

When the application starts, every replica imports its libraries at once. The diarizer's and the embedder's cost tens of
seconds of processor time, and no recording needs either before its first window has been transcribed.
"""

import asyncio
import importlib
import os
import sys
import threading
from contextlib import suppress

_BEHIND = 10
"""Nice value of the importing thread: about a tenth of the processor time of an ordinary one."""


async def import_patiently(module: str) -> None:
    """Import ``module`` in a thread of low priority, where the system has priorities by thread (Linux).

    The thread ends with the import: what is computed afterwards runs at the ordinary priority. What cannot be imported
    is left to the engine, which says why.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def work() -> None:
        try:
            _step_back()
            with suppress(ImportError):
                importlib.import_module(module)
        finally:
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=work, name="patient-import", daemon=True).start()
    await ended.wait()


def _step_back() -> None:
    # On Linux a nice value belongs to a thread; elsewhere it would slow the whole process, for good.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_BEHIND, os.getpriority(os.PRIO_PROCESS, thread)))

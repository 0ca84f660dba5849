"""What the figures depend on, besides what they measure: written beside them."""

import os
import time

WAKES = 200
PAUSE_S = 0.01


def machine() -> dict[str, object]:
    """Return the cores, how busy they were with something else, and what it costs here to wake and go back to sleep."""
    return {
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 1),
        "wake_processor_us": round(wake_processor_us()),
    }


def wake_processor_us() -> float:
    """Return the processor time of one wake from a sleep, in microseconds.

    Idle processes do little else. It is a few on hardware, and many times that on a virtual machine that is left for
    each timer.
    """
    began = time.process_time()
    for _ in range(WAKES):
        time.sleep(PAUSE_S)
    return (time.process_time() - began) / WAKES * 1e6

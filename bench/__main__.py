"""Run the benches: ``python -m bench`` runs all with their defaults, ``python -m bench jobs --jobs 50`` one of them."""

import os
import runpy
import sys
from pathlib import Path

NAMES = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))


def main(arguments: list[str]) -> None:
    """Run what the arguments name; without any, everything."""
    if arguments and arguments[0] not in NAMES:
        raise SystemExit(f"there is no bench {arguments[0]!r}; there are: {', '.join(NAMES)}")
    # As in the replicas (serve_app/laptop/private_ray.py), and before NumPy is imported: equal threads on both sides.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in arguments[:1] or NAMES:
        print(f"\n{name}\n{'-' * len(name)}", flush=True)
        sys.argv = [f"bench_{name}", *arguments[1:]]
        runpy.run_module(f"bench.bench_{name}", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])

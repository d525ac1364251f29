"""Thousands of mutated objects, HTTP requests and HTTP answers; 1 at a fault.

``python -m benchmarks.fuzz_gateway [--count 10000] [--seed 0] [--kinds requests answers objects]``; the count is of each kind. Conversations with the receiver have a command of their own: ``python -m benchmarks.fuzz_receive``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.gateway.arrival.object_mutations import ObjectFuzz, mutate_objects
from tests.gateway.http_fuzzer import HttpFuzz, fuzz_answers, fuzz_requests

KINDS: dict[str, Callable[[int, int, Path], HttpFuzz | ObjectFuzz]] = {
    "requests": fuzz_requests,
    "answers": fuzz_answers,
    "objects": mutate_objects,
}


def main() -> int:
    """Try each kind, and print how the cases ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    count, seed = arguments.count, arguments.seed
    logging.basicConfig(level=logging.CRITICAL + 1)  # each case is told in the log, by the gateway and by uvicorn
    has_fault = False
    for kind in arguments.kinds:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = KINDS[kind](count, seed, Path(folder))
        print(json.dumps({
            "kind": kind,
            "count": count,
            "seed": seed,
            "ends": dict(sorted(found.ends.items())),
            "faults": found.faults,
            "growth after the first, MiB": round(found.grown_kib / 1024, 1),
            "seconds": round(time.monotonic() - started),
            "load": round(os.getloadavg()[0]),
        }, indent=1), flush=True)  # fmt: skip
        has_fault |= bool(found.faults)
    return has_fault


if __name__ == "__main__":
    sys.exit(main())

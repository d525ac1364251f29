"""Thousands of mutated studies: ``python -m benchmarks.fuzz [COUNT [SEED]]`` prints what came of each kind; 1 where one is a fault."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzzer import fuzz


def main() -> int:
    """Try 10,000 mutations, or as many as the first argument says, and print a table."""
    given = [int(argument) for argument in sys.argv[1:3]]
    count, seed = given[0] if given else 10_000, given[1] if len(given) > 1 else 0
    with tempfile.TemporaryDirectory() as folder:
        outcomes = fuzz(count, seed, Path(folder))
    table = Counter(f"{outcome.kind}: {'FAULT' if outcome.is_fault else outcome.what}" for outcome in outcomes)
    print(json.dumps(table, indent=1, sort_keys=True))
    faults = [outcome for outcome in outcomes if outcome.is_fault]
    for fault in faults:
        print(fault)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

"""Thousands of mutated DICOM conversations: ``python -m benchmarks.fuzz_receive [COUNT [SEED]]`` prints what came of them; 1 at a fault."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import gateway.objects.tables  # noqa: F401 - its tables are among those that are made
from gateway.database import create_tables, open_database
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.receive.listener import DimseListener
from gateway.receive.settings import AssociationLimits, DimseSource
from tests.gateway.receive.conversations import mutate_conversations


def main() -> int:
    """Hold 10,000 conversations, or as many as the first argument says, with one PDU of each mutated."""
    given = [int(argument) for argument in sys.argv[1:3]]
    count, seed = given[0] if given else 10_000, given[1] if len(given) > 1 else 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{folder}/gateway.sqlite")
        create_tables(engine)
        limits = AssociationLimits(idle_seconds=0.2, handshake_seconds=0.2)
        with ObjectStore(Path(folder) / "objects", engine) as store:
            with DimseListener(DimseSource(name="fuzz", port=0, limits=limits), store, InFlight(engine)) as listener:
                found = mutate_conversations(listener, count, seed)
            damaged = sum(1 for _ in store.missing_files())
            stored = store.index.count()
    print(json.dumps({
        "conversations": count,
        "seed": seed,
        "stored": stored,
        "damaged": damaged,
        "unforeseen errors": list(found.unforeseen),
        "growth after 20 conversations, MiB": round(found.grown_kib / 1024, 1),
        "seconds": round(time.monotonic() - started),
    }, indent=1))  # fmt: skip
    return bool(damaged or found.unforeseen)


if __name__ == "__main__":
    sys.exit(main())

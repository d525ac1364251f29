"""Mutated objects of a whole study: refused by the store, or judged with the rest of it; nothing else comes of them."""

from __future__ import annotations

import io
import random
import resource
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.clock import utc_now
from gateway.objects.errors import NotStorableError
from gateway.objects.outcome import Conflict, Stored
from gateway.objects.reception import ObjectOrigin
from gateway.processes.arrivals import header_of
from tests.gateway.arrival.made_studies import Gateway, made_studies, opened
from tests.gateway.receive.conversations import mutated

HEAD_BYTES: Final = 2500
"""Where most mutations are: the header of a CT image ends there."""
WARM: Final = 20


@dataclass
class ObjectFuzz:
    """What came of mutated objects: how many ended how, errors that nobody foresaw, growth after the first twenty, KiB."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    grown_kib: int = 0


def mutate_objects(count: int, seed: int, folder: Path) -> ObjectFuzz:
    """Store mutated CT images and contours in the place of one of a study's, and judge the study.

    Parameters
    ----------
    count
        How many.
    seed
        Of the mutations.
    folder
        An empty one.

    Returns
    -------
    ObjectFuzz
    """
    (study,) = made_studies(folder / "study", 1)
    found, chance, peak = ObjectFuzz(), random.Random(seed), 0
    with opened(folder / "gateway") as gateway:
        for data in study.everything:
            gateway.put(data)
        first = {stored.sop_instance_uid: stored for stored in gateway.store.objects_of(study.study)}
        for number in range(count):
            if number == WARM:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            whole = study.seg if chance.random() < 0.5 else chance.choice(study.ct)
            # A UID of its own, so that it is not merely another version of what is there
            data = whole.replace(b"2.25.", b"2.26.") if chance.random() < 0.3 else whole
            head = chance.choice([HEAD_BYTES, HEAD_BYTES, HEAD_BYTES, len(data)])
            broken = data[:132] + mutated(data[132:head], chance) + data[head:]
            try:
                found.ends[_stored_and_judged(gateway, broken, set(first))] += 1
            except Exception as error:  # noqa: BLE001 - what nobody foresaw is what is looked for
                found.ends["FAULT"] += 1
                found.faults.append(f"object {number} of seed {seed}: {error!r}")
        found.grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak if count > WARM else 0
        if any(gateway.store.missing_files()) or set(first) - gateway.there(study.study):
            found.faults.append("an object of the whole study is damaged or gone")
    return found


def _stored_and_judged(gateway: Gateway, data: bytes, first: set[str]) -> str:
    try:
        outcome = gateway.store.put(io.BytesIO(data), ObjectOrigin("pacs", "dimse", "SENDER"))
    except NotStorableError:
        return "not stored"
    if isinstance(outcome, Conflict):
        return "kept aside"
    if not isinstance(outcome, Stored):
        return "the same"
    stored = outcome.object
    arrival = gateway.judge(stored.study, utc_now())
    header_of(gateway.store, stored.study)
    if stored.sop_instance_uid in first:
        return "an object of the study once more"
    gateway.store.index.withdraw(stored)
    gateway.store.path_of(stored).unlink()
    return f"judged: {type(arrival).__name__}"

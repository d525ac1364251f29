"""A thousand objects of many studies, shuffled and interleaved over associations of two receivers: each study is run once, whole."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pydicom

from gateway.arrival.digest import objects_digest
from gateway.database import open_database
from gateway.objects.in_flight import InFlight
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.records import StudyKey
from gateway.workflow.clinical_table import ClinicalWatch
from gateway.workflow.defects import DefectBook, StudyGuard
from gateway.workflow.runs import RunLedger, RunNote
from gateway.workflow.settings import ClinicalTableRules, RunRules
from gateway.workflow.study_header import StudyHeader
from gateway.workflow.watch import StudyWatch, WatchParts
from tests.gateway.arrival.made_studies import Gateway, Made, made_studies_of_a_small_tumour, opened, read

STUDIES = 31
SEED = 5


class RunAtOnce:
    """Stands in for queue and workers: a run has ended as soon as it is asked for, so that nothing hides a second one."""

    def __init__(self, gateway: Gateway, ledger: RunLedger, needed: dict[StudyKey, frozenset[str]]) -> None:
        self._gateway, self._ledger, self._needed = gateway, ledger, needed
        self.premature: list[StudyKey] = []

    def put(self, note: RunNote) -> None:
        run = note.input
        if not self._needed[run.study] | set(run.contour) <= self._gateway.there(run.study):
            self.premature.append(run.study)
        self._ledger.began(run.digest, note.round)
        self._ledger.ended(run.digest, note.round, "done")

    def statuses(self, notes: Iterable[RunNote]) -> dict[str, str]:
        return {}

    def resume(self, note: RunNote) -> None:
        raise AssertionError("a run that has ended is not resumed")

    def hasten(self, note: RunNote) -> None:
        raise AssertionError("a run that has ended does not wait")


def dealt(studies: tuple[Made, ...], chance: random.Random) -> list[tuple[bytes, str]]:
    """Every object with its association, in the order of arrival.

    Studies begin one after the other and overlap. The objects of every second one are shuffled; of the others the SEG comes first and then
    the slices from below, so that there is no gap, and what a run needs is there while the slices above it are in flight. They come over one
    to four associations that bring those of a second study too. Each of them brings something of its study early, as open associations of
    one sender do.
    """
    arrivals: list[tuple[float, bytes, str]] = []
    for number, made in enumerate(studies):
        objects = made.everything
        in_order = number % 2 == 0
        if not in_order:
            chance.shuffle(objects)
        names = [f"pacs:{chance.randrange(2)}:{number // 2}-{part}" for part in range(chance.randint(1, 4))]
        for place, data in enumerate(objects):
            begin = 0.0 if place < len(names) else place / len(objects) if in_order else chance.random()
            name = names[place] if place < len(names) else chance.choice(names)
            arrivals.append((number + 6 * begin, data, name))
    arrivals.sort(key=lambda arrival: arrival[0])
    return [(data, name) for _, data, name in arrivals]


def test_a_thousand_shuffled_arrivals_are_run_neither_early_nor_twice(tmp_path: Path) -> None:
    studies = made_studies_of_a_small_tumour(tmp_path / "study", STUDIES)
    assert all(str(read(made.ct[-5]).SOPInstanceUID) not in made.needed for made in studies), (
        "a run needs not all slices"
    )
    arrivals = dealt(studies, random.Random(SEED))
    assert len(arrivals) >= 1000
    with opened(tmp_path / "gateway") as gateway:
        engine = gateway.store.index.engine
        ledger = RunLedger(engine)
        queue = RunAtOnce(gateway, ledger, {made.study: made.needed for made in studies})
        watch = StudyWatch(
            WatchParts(
                index=gateway.store.index,
                judge=gateway.judge,
                objects_of=gateway.store.objects_of,
                header_of=lambda study: StudyHeader(),
                ledger=ledger,
                queue=queue,
                guard=StudyGuard(DefectBook(engine)),
                executing=lambda note: False,
                clinical=ClinicalWatch(engine, tmp_path / "clinical", ClinicalTableRules()),
                rules=RunRules(),
                model_sha256="m",
                settings="s",
            )
        )
        other = open_database(f"sqlite:///{tmp_path / 'gateway' / 'gateway.sqlite'}")
        with ObjectStore(tmp_path / "gateway" / "objects", other) as second:
            receivers = [(gateway.store, gateway.in_flight), (second, InFlight(other, timedelta(minutes=10)))]
            last = {name: at for at, (_, name) in enumerate(arrivals)}
            for at, (data, name) in enumerate(arrivals):
                store, in_flight = receivers[int(name.split(":")[1])]
                store.put(io.BytesIO(data), ObjectOrigin("pacs", "dimse", "SENDER", name))
                if last[name] == at:
                    in_flight.release(name)
                watch.look()
        other.dispose()
        until = time.monotonic() + 300
        while any(not ledger.of_study(made.study) for made in studies):
            assert time.monotonic() < until, "a whole study is not run"
            watch.look()
            time.sleep(0.1)
        assert queue.premature == []
        for made in studies:
            there = gateway.store.objects_of(made.study)
            assert {stored.sop_instance_uid for stored in there} == {
                str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID) for data in made.everything
            }
            assert [note.input.objects_digest for note in ledger.of_study(made.study)] == [objects_digest(there)]

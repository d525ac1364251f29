"""Retention: a study goes by age or for want of room, and only when its result is where it had to go."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select

from gateway.clock import utc_now
from gateway.database import METADATA, create_tables, open_database
from gateway.objects.locks import held_file
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore, StoreLimits
from gateway.records import StudyKey
from gateway.retention.records import forget_records
from gateway.retention.removal import (
    StudyBusyError,
    StudyStores,
    remove_old_tables,
    remove_study,
    remove_what_may_go,
    room_notice,
    stored_studies,
)
from gateway.retention.rules import RetentionRules, StoredStudy, studies_to_remove, want_of_room
from gateway.send.delivery import DeliveryBook
from gateway.send.destination import Confirmation
from gateway.send.rules import Shipment
from gateway.workflow.results import ResultStore
from gateway.workflow.runs import RunLedger
from gateway.workflow.tables import RESULTS
from pdl1es.phantom.dicom import PhantomStudy
from tests.gateway.workflow.stand_ins import some_run

NOW = datetime(2026, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)


def study(name: str, *, days: float, end: Any = "delivered", size: int = 100) -> StoredStudy:
    return StoredStudy(StudyKey(name), NOW - days * DAY, size, end)


def removed(studies: list[StoredStudy], free: int = 10**9, **rules: Any) -> list[str]:
    chosen = RetentionRules(**{"free_bytes": 0, **rules})
    return [key.study_instance_uid for key in studies_to_remove(studies, chosen, now=NOW, free=free)]


def test_delivered_studies_go_by_age_and_undelivered_ones_never() -> None:
    studies = [study("1", days=31), study("2", days=29), study("3", days=999, end="undelivered")]
    assert removed(studies) == ["1"]
    assert removed(studies, delivered_days="never") == []


def test_a_study_whose_result_went_nowhere_stays_unless_the_site_says_otherwise() -> None:
    studies = [study("1", days=999, end="unsent")]
    assert removed(studies, free=0, free_bytes=10**9) == []
    assert removed(studies, unsent_days=90.0) == ["1"]


def test_want_of_room_is_told_while_results_are_kept_that_went_nowhere() -> None:
    kept, rules = [study("1", days=1, end="unsent", size=2**30)], RetentionRules(free_bytes=2**31)
    told = want_of_room(kept, rules, free=2**29)
    assert "0.5 GiB are free" in told
    assert "in results/ alone: 1 (1.0 GiB)" in told
    assert "`pdl1es gateway purge STUDY --yes`" in told
    assert "retention.unsent_days" in told
    assert want_of_room(kept, rules, free=2**31) == ""
    assert want_of_room([study("2", days=1, end="undelivered")], rules, free=0) == ""


def test_studies_that_never_had_a_run_stay_unless_the_site_says_otherwise() -> None:
    studies = [study("1", days=999, end="unfinished")]
    assert removed(studies) == []
    assert removed(studies, unfinished_days=90.0) == ["1"]


def test_for_want_of_room_the_oldest_delivered_ones_go_first_and_no_more_than_needed() -> None:
    studies = [study("1", days=1), study("2", days=3), study("3", days=2), study("4", days=9, end="undelivered")]
    assert removed(studies, free=850, free_bytes=1000) == ["2", "3"]


@given(
    ends=st.lists(st.sampled_from(["delivered", "unsent", "unfinished", "undelivered"]), max_size=8),
    free=st.integers(0, 2000),
    days=st.floats(-100, 1000),
)
def test_what_is_not_delivered_never_goes_for_want_of_room(ends: list[str], free: int, days: float) -> None:
    studies = [study(str(number), days=days, end=end) for number, end in enumerate(ends)]
    gone = removed(studies, free=free, free_bytes=1000, delivered_days="never")
    assert all(ends[int(number)] == "delivered" for number in gone)


def test_a_study_from_the_future_is_young() -> None:
    assert removed([study("1", days=-400)]) == []


class Kept:
    """A gateway's stores with one study in them, which has a run and a result."""

    def __init__(self, folder: Path, phantom: PhantomStudy) -> None:
        self.engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
        create_tables(self.engine)
        self.objects = ObjectStore(folder / "objects", self.engine, StoreLimits(reserve_bytes=0))
        self.results = ResultStore(self.engine, folder / "results")
        self.stores = StudyStores(self.objects, self.results, folder / "refiled")
        self.ledger, self.book = RunLedger(self.engine), DeliveryBook(self.engine)
        self.put(phantom)
        (self.study,) = self.objects.index.studies()

    def put(self, phantom: PhantomStudy) -> None:
        file = min(file for file in phantom.folder.rglob("*.dcm"))
        self.objects.put(BytesIO(file.read_bytes()), ObjectOrigin("pacs", "folder", ""))

    def remove(self, *, delivered_only: bool) -> int:
        return remove_study(self.study, self.stores, delivered_only=delivered_only, patience_seconds=0)

    def scored(self, withheld: list[str] | None) -> None:
        self.ledger.enter(replace(some_run("d1"), study=self.study))
        self.ledger.began("d1", 1)
        self.ledger.ended("d1", 1, "done")
        (self.results.folder / "d1").mkdir()
        with self.engine.begin() as connection:
            connection.execute(
                insert(RESULTS).values(
                    digest="d1",
                    study_instance_uid=self.study.study_instance_uid,
                    group="",
                    score=0.5,
                    refusal="",
                    training_data="patients",
                    created_at=NOW,
                    withheld=withheld,
                )
            )

    def confirmed(self) -> None:
        self.book.begin("d1", self.study.study_instance_uid, [Shipment("a", ("sr",))], NOW)
        self.book.record_confirmed("d1", "a", Confirmation(True, "commitment"), NOW)

    def end(self) -> str:
        (stored,) = stored_studies(self.engine)
        return stored.end


@pytest.fixture
def kept(tmp_path: Path, phantom_study: PhantomStudy) -> Kept:
    return Kept(tmp_path, phantom_study)


def test_a_study_is_delivered_only_when_every_destination_has_confirmed(kept: Kept) -> None:
    assert kept.end() == "unfinished"
    kept.scored([])
    kept.book.begin("d1", kept.study.study_instance_uid, [Shipment(name, ("sr",)) for name in ("a", "b")], NOW)
    assert kept.end() == "undelivered"
    kept.book.record_confirmed("d1", "a", Confirmation(True, "commitment"), NOW)
    assert kept.end() == "undelivered"
    kept.book.record_confirmed("d1", "b", Confirmation(True, "query"), NOW)
    assert kept.end() == "delivered"
    kept.ledger.enter(replace(some_run("d2"), study=kept.study))
    assert kept.end() == "undelivered"


@pytest.mark.parametrize(
    ("withheld", "end"), [(None, "undelivered"), (["pacs: demonstration"], "undelivered"), ([], "unsent")]
)
def test_a_result_that_was_withheld_or_not_handed_over_yet_keeps_its_study(
    kept: Kept, withheld: list[str] | None, end: str
) -> None:
    kept.scored(withheld)
    assert kept.end() == end


@pytest.mark.parametrize("days", [30.0, "never"])
def test_a_result_that_went_nowhere_is_kept_by_age_and_for_want_of_room_and_told(kept: Kept, days: Any) -> None:
    kept.scored([])
    rules = RetentionRules(free_bytes=2**60, delivered_days=0.001, unsent_days=days)
    assert remove_what_may_go(kept.stores, rules) == 0
    assert (kept.results.folder / "d1").exists()
    assert kept.objects.objects_of(kept.study)
    assert "in results/ alone: 1 (" in room_notice(kept.stores, rules)
    kept.confirmed()
    assert remove_what_may_go(kept.stores, rules) == 1
    assert room_notice(kept.stores, rules) == ""


def test_what_retention_removed_is_not_said_to_be_removed_by_a_person(kept: Kept) -> None:
    kept.scored([])
    kept.confirmed()
    kept.remove(delivered_only=True)
    note = kept.results.note("d1")
    assert note is not None
    assert (note.purged, note.removed_by) == (True, "retention")


def test_a_removed_study_leaves_no_file_and_stays_known_as_run(kept: Kept) -> None:
    kept.scored([])
    kept.confirmed()
    rules = RetentionRules(free_bytes=2**60)
    assert remove_what_may_go(kept.stores, rules) == 1
    assert kept.objects.objects_of(kept.study) == ()
    assert not (kept.results.folder / "d1").exists()
    assert not kept.ledger.enter(replace(some_run("d1"), study=kept.study))
    assert remove_what_may_go(kept.stores, rules) == 0


def test_a_study_is_not_removed_while_a_result_of_it_is_being_sent(kept: Kept) -> None:
    kept.scored([])
    with held_file(kept.results.folder / "d1", fcntl.LOCK_SH):
        for delivered_only in (True, False):
            with pytest.raises(StudyBusyError, match="being sent"):
                kept.remove(delivered_only=delivered_only)
    assert kept.objects.objects_of(kept.study)
    assert (kept.results.folder / "d1").exists()
    assert kept.remove(delivered_only=True) == 1


def test_retention_leaves_a_study_for_which_something_was_asked_since_it_was_looked_at(kept: Kept) -> None:
    kept.scored([])
    kept.book.send_again("d1", kept.study.study_instance_uid, [Shipment("a", ("sr",))], NOW)
    with pytest.raises(StudyBusyError, match="meanwhile"):
        kept.remove(delivered_only=True)
    assert kept.objects.objects_of(kept.study)
    note = kept.results.note("d1")
    assert note is not None
    assert not note.purged


def test_a_purged_study_that_comes_again_goes_by_age_like_a_delivered_one(
    kept: Kept, phantom_study: PhantomStudy
) -> None:
    kept.scored(["a: withheld"])
    kept.book.begin("d1", kept.study.study_instance_uid, [Shipment("a", ("sr",))], NOW)
    kept.remove(delivered_only=False)
    assert [one.delivery.state for one in kept.book.of_result("d1")] == ["purged"]
    kept.put(phantom_study)
    assert kept.end() == "delivered"


def test_old_versions_of_the_clinical_table_go_and_the_one_in_use_stays(tmp_path: Path) -> None:
    for name in ("old", "used"):
        (tmp_path / f"{name}.csv").write_text("patient_id\n")
    assert remove_old_tables(tmp_path, "used", older_than=2**33) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["used.csv"]


def test_what_is_known_of_a_removed_study_is_forgotten_after_its_time_and_not_before(kept: Kept) -> None:
    kept.scored([])
    kept.book.begin("d1", kept.study.study_instance_uid, [Shipment("a", ("sr",))], NOW)
    kept.book.record_confirmed("d1", "a", Confirmation(True, "commitment"), NOW)
    later = utc_now() + 3 * DAY
    assert forget_records(kept.engine, later) == 0, "its objects are there"
    kept.objects.purge(kept.study)
    assert forget_records(kept.engine, later) == 0, "its result is there"
    kept.results.purge(kept.results.of_study(kept.study))
    assert forget_records(kept.engine, utc_now() - DAY) == 0
    assert forget_records(kept.engine, later) == 1
    with kept.engine.connect() as connection:
        left = {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in METADATA.tables.items()
            if name != "schema_versions"
        }
    assert left == dict.fromkeys(left, 0)

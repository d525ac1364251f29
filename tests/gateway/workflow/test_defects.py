"""A defect with one study: the others go on, it is told once, and the study is judged again."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from gateway.health.readiness import Expected, notices, obstacles
from gateway.objects.tables import STUDIES
from gateway.records import StudyKey
from gateway.workflow.defects import LONGEST_WAIT, DefectBook
from gateway.workflow.runs import RunInput, RunNote
from gateway.workflow.study_header import StudyHeader
from tests.gateway.workflow.stand_ins import NOW, STUDY
from tests.gateway.workflow.watching import Watching

OTHER = StudyKey("9.9")


class Poisoned(Watching):
    """A watch whose first study cannot be judged; another one comes behind it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with self.engine.begin() as connection:
            for study in (STUDY, OTHER):
                times = {"first_received_at": NOW, "last_received_at": NOW}
                key = {"study_instance_uid": study.study_instance_uid}
                connection.execute(STUDIES.insert().values(**key, **times, revision=1, judged_revision=0))
        self.book = DefectBook(self.engine)
        self.arrives()
        self.arrives("o2", OTHER)
        self.sound = self.judgement.arrivals.pop(STUDY)  # a KeyError, as of a header that nobody foresaw

    def asked_for(self) -> list[StudyKey]:
        found = [self.ledger.find(digest) for digest, _ in self.queue.rounds]
        return [note.input.study for note in found if note is not None]


@pytest.fixture
def poisoned(tmp_path: Path) -> Poisoned:
    return Poisoned(tmp_path)


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if "STUDY_DEFECT" in record.getMessage()]


def test_the_studies_behind_one_with_a_defect_are_run_also_after_a_restart(poisoned: Poisoned) -> None:
    assert poisoned.watch.look() == 1
    assert poisoned.asked_for() == [OTHER]
    poisoned.watch = poisoned.restarted()
    poisoned.arrives("o3", third := StudyKey("9.9.9"))
    poisoned.time_passes()
    assert poisoned.watch.look() == 1
    assert poisoned.asked_for() == [OTHER, third]


def test_a_defect_is_logged_once_with_its_traceback_and_counted(
    poisoned: Poisoned, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        poisoned.watch.look()
        poisoned.time_passes()
    (record,) = told(caplog)
    assert record.exc_info is not None
    assert vars(record)["study"] == STUDY
    assert STUDY.study_instance_uid not in record.getMessage()
    (defect,) = poisoned.book.of_study(STUDY)
    assert defect.attempts == 3
    assert str(defect).startswith("STUDY_DEFECT: KeyError in __call__ (stand_ins.py:")


def test_a_study_with_a_defect_is_not_judged_again_before_its_wait_is_over_which_grows_to_a_bound(
    poisoned: Poisoned,
) -> None:
    waits = []
    for _ in range(8):
        poisoned.watch.look()
        guard = poisoned.watch._parts.guard
        waits.append(guard.wait(STUDY, "arrival"))
        poisoned.watch.look()
        poisoned.time_passes()
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] == LONGEST_WAIT
    assert poisoned.book.of_study(STUDY)[0].attempts == 8


def test_what_arrives_has_the_study_judged_at_once_and_the_defect_forgotten(poisoned: Poisoned) -> None:
    poisoned.watch.look()
    poisoned.arrives()
    assert poisoned.watch.look() == 1
    assert poisoned.asked_for() == [OTHER, STUDY]
    assert poisoned.book.every() == ()


def test_a_defect_is_told_until_it_is_gone_and_the_gateway_stays_ready_for_all_others(poisoned: Poisoned) -> None:
    poisoned.watch.look()
    (found,) = notices(poisoned.engine)
    assert found.startswith("studies: STUDY_DEFECT: 1 study cannot be judged because of a defect: KeyError")
    assert STUDY.study_instance_uid not in found
    assert obstacles(poisoned.engine, Expected((), poisoned.folder, 0, ())) == ()
    poisoned.arrives()
    poisoned.watch.look()
    assert notices(poisoned.engine) == ()


def test_a_defect_in_a_changed_row_keeps_no_other_study_from_its_run_and_is_tried_again(
    poisoned: Poisoned, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned.judgement.arrivals[STUDY] = poisoned.sound
    assert poisoned.watch.look() == 2
    poisoned.ends(0)
    poisoned.ends(1)

    def fails(study: StudyKey) -> StudyHeader:
        if study in broken:
            raise ZeroDivisionError
        return poisoned.header

    broken = {STUDY}
    watch = poisoned.restarted(header_of=fails)
    later = time.monotonic() + LONGEST_WAIT.total_seconds()
    (poisoned.folder / "clinical.csv").write_text("patient_id,age\nP1,50\n")
    poisoned.objects.objects.append(poisoned.another(OTHER))
    assert watch.look() == 1
    assert [one.part for one in poisoned.book.of_study(STUDY)] == ["input"]
    monkeypatch.setattr(time, "monotonic", lambda: later)
    broken.clear()
    watch.sweep()
    assert poisoned.asked_for()[2:] == [OTHER, STUDY]
    assert poisoned.book.every() == ()


def test_a_defect_with_one_run_keeps_the_sweep_from_no_other(
    poisoned: Poisoned, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned.judgement.arrivals[STUDY] = poisoned.sound
    poisoned.watch.look()
    lost = dict(poisoned.queue.statuses_of)
    poisoned.queue.statuses_of.clear()
    poisoned.queue.rounds.clear()
    put = poisoned.queue.put

    def fails(note: RunNote) -> None:
        if note.input.study == STUDY:
            raise ZeroDivisionError
        put(note)

    monkeypatch.setattr(poisoned.queue, "put", fails)
    poisoned.watch.sweep()
    assert poisoned.asked_for() == [OTHER]
    assert len(lost) == 2
    assert [one.part for one in poisoned.book.every()] == ["run"]
    monkeypatch.undo()
    poisoned.watch.sweep()
    assert poisoned.asked_for() == [OTHER, STUDY]
    assert poisoned.book.every() == ()


def test_a_database_that_does_not_answer_is_no_studys_defect(
    poisoned: Poisoned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(run: RunInput) -> bool:
        raise OperationalError("SELECT", {}, Exception())

    monkeypatch.setattr(poisoned.ledger, "enter", gone)
    with pytest.raises(OperationalError):
        poisoned.watch.look()
    assert [one.study for one in poisoned.book.every()] == [STUDY]

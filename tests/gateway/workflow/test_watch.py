"""The watch: a complete study is run once, a changed one again, and nothing is lost between ledger and queue."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest

from gateway.clock import utc_now
from gateway.records import Refused, Waiting
from gateway.workflow.settings import RunRules
from gateway.workflow.study_header import StudyHeader, read_study_header
from gateway.workflow.watch import is_as_asked, row_digest
from tests.gateway.workflow.stand_ins import (
    NOW,
    STUDY,
)
from tests.gateway.workflow.watching import Watching

TABLE = "patient_id,age\nP1,{age}\n"


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    return Watching(tmp_path)


def test_a_complete_study_is_asked_for_once(watching: Watching) -> None:
    watching.arrives()
    assert [watching.watch.look(), watching.watch.look()] == [1, 0]
    watching.ends(0)
    watching.arrives()  # a resend of the same objects
    assert watching.watch.look() == 0
    assert len(watching.queue.rounds) == 1


def test_a_study_that_changed_gets_another_run_when_the_one_before_has_ended(watching: Watching) -> None:
    watching.arrives("o1")
    watching.watch.look()
    watching.arrives("o2")
    assert watching.watch.look() == 0
    watching.ends(0)
    watching.time_passes()
    assert watching.watch.look() == 1
    first, second = (digest for digest, _ in watching.queue.rounds)
    assert first != second


def test_a_waiting_study_is_told_and_judged_again_at_its_time(watching: Watching) -> None:
    watching.index.revisions[STUDY] = 1
    watching.judgement.arrivals[STUDY] = Waiting(STUDY, "images are missing", NOW)
    assert watching.watch.look() == 0
    assert watching.waited == [Waiting(STUDY, "images are missing", NOW)]
    assert watching.index.judgements[STUDY] == (1, NOW)


def test_a_study_that_may_have_something_fetched_is_judged_again_when_that_is_due(watching: Watching) -> None:
    watching.index.revisions[STUDY] = 1
    watching.judgement.arrivals[STUDY] = Waiting(STUDY, "images are missing", NOW)
    watching.fetched_again = NOW - timedelta(seconds=9)
    watching.watch.look()
    assert watching.index.judgements[STUDY] == (1, NOW - timedelta(seconds=9))
    watching.fetched_again = NOW + timedelta(seconds=9)
    watching.watch.look()
    assert watching.index.judgements[STUDY] == (1, NOW)


def test_without_a_contour_there_is_nothing_to_judge_again(watching: Watching) -> None:
    watching.index.revisions[STUDY] = 1
    watching.judgement.arrivals[STUDY] = Waiting(STUDY, "no contour has arrived")
    watching.fetched_again = NOW
    watching.watch.look()
    assert watching.index.judgements[STUDY] == (1, None)


def test_a_refused_arrival_is_run_with_all_its_objects_once(watching: Watching) -> None:
    watching.index.revisions[STUDY] = 1
    watching.judgement.arrivals[STUDY] = Refused(STUDY, "SEG_REFERENCES_ABSENT_INSTANCES", "3 images", "o1")
    assert watching.watch.look() == 1
    note = watching.ledger.find(watching.queue.rounds[0][0])
    assert note is not None
    assert (note.input.contour, note.input.series_instance_uid) == ((), "")


def test_a_run_that_a_crash_kept_out_of_the_queue_is_put_into_it(watching: Watching) -> None:
    watching.arrives()
    watching.watch.look()
    watching.queue.rounds.clear()
    watching.queue.statuses_of.clear()  # the process died between ledger and queue
    watching.restarted().look()
    assert len(watching.queue.rounds) == 1


def test_a_run_whose_workflow_broke_is_tried_again_and_then_parked(watching: Watching) -> None:
    watching.rules = RunRules(attempts=2)
    watching.watch = watching.restarted()
    watching.arrives()
    watching.watch.look()
    for _ in range(2):
        digest, round_number = watching.queue.rounds[-1]
        watching.ledger.began(digest, round_number)
        watching.queue.statuses_of[digest, round_number] = "ERROR"
        watching.watch.sweep()
    note = watching.ledger.find(digest)
    assert note is not None
    assert (note.state, note.reason.partition(":")[0]) == ("parked", "WORKFLOW_ERROR")
    assert [number for _, number in watching.queue.rounds] == [1, 2]


def test_a_corrected_clinical_row_gives_another_run_and_another_patient_s_none(watching: Watching) -> None:
    watching.arrives()
    watching.watch.look()
    watching.ends(0)
    (watching.folder / "clinical.csv").write_text(TABLE.format(age=61))
    assert watching.watch.look() == 1
    watching.ends(1)
    (watching.folder / "clinical.csv").write_text(TABLE.format(age=61) + "P2,50\n")
    assert watching.watch.look() == 0
    (watching.folder / "clinical.csv").write_text(TABLE.format(age=62) + "P2,50\n")
    assert watching.watch.look() == 1


def test_a_row_that_changed_while_its_study_was_run_is_not_missed(watching: Watching) -> None:
    watching.arrives()
    watching.watch.look()
    (watching.folder / "clinical.csv").write_text(TABLE.format(age=61))
    assert watching.watch.look() == 0
    watching.ends(0)
    assert watching.watch.look() == 1


def test_stat_comes_from_the_header_or_the_sender(watching: Watching) -> None:
    watching.header = StudyHeader("P1", "A1", "STAT")
    watching.arrives("o1")
    watching.watch.look()
    watching.ends(0)
    watching.header = StudyHeader("P1", "A1", "ROUTINE")
    watching.arrives("o2")
    watching.watch.look()
    watching.ends(1)
    watching.rules = RunRules(urgent_ae_titles=("CT1",))
    watching.watch = watching.restarted()
    watching.arrives("o3")
    watching.watch.look()
    notes = (watching.ledger.find(digest) for digest, _ in watching.queue.rounds)
    assert [note.input.urgent for note in notes if note is not None] == [True, False, True]


def _file() -> bytes:
    header = pydicom.Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientID, header.AccessionNumber = "P1", "A1"
    header.RequestedProcedurePriority = "STAT"
    header.RequestAttributesSequence = [pydicom.Dataset()]
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    buffer = io.BytesIO()
    header.preamble = bytes(128)
    pydicom.dcmwrite(buffer, header)
    return buffer.getvalue()


def test_no_bytes_of_a_header_end_the_watch() -> None:
    """2,000 mutations behind the preamble: each gives a header, its own or the next file's."""
    whole, rng = _file(), np.random.default_rng(0)
    expected = StudyHeader("P1", "A1", "STAT")
    assert read_study_header([io.BytesIO(b"no DICOM"), io.BytesIO(whole)]) == expected
    for _ in range(2000):
        content = bytearray(whole)
        for place in rng.integers(132, len(content), size=rng.integers(1, 6)):
            content[place] = rng.integers(256)
        cut = bytes(content[: rng.integers(133, len(content) + 1)])
        assert isinstance(read_study_header([io.BytesIO(cut), io.BytesIO(whole)]), StudyHeader)


def test_a_workflow_without_a_thread_is_resumed_when_two_sweeps_have_found_it_so(watching: Watching) -> None:
    watching.arrives()
    watching.watch.look()
    (key,) = watching.queue.rounds
    watching.queue.statuses_of[key] = "PENDING"
    watching.executing.add(key[0])
    watching.watch.sweep()
    watching.watch.sweep()
    assert watching.queue.statuses_of[key] == "PENDING"  # it has one
    watching.executing.clear()
    watching.watch.sweep()
    assert watching.queue.statuses_of[key] == "PENDING"
    watching.watch.sweep()
    assert watching.queue.statuses_of[key] == "ENQUEUED"


def test_a_run_whose_end_the_ledger_missed_is_tried_again(watching: Watching) -> None:
    watching.arrives()
    watching.watch.look()
    (key,) = watching.queue.rounds
    watching.queue.statuses_of[key] = "SUCCESS"
    watching.watch.sweep()
    watching.watch.sweep()
    assert watching.queue.rounds == [key, (key[0], 2)]


def test_a_wait_from_before_the_clock_stepped_back_is_over(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    watching.arrives()
    watching.watch.look()
    (key,) = watching.queue.rounds
    watching.queue.statuses_of[key] = "DELAYED"
    watching.watch.sweep()
    assert watching.queue.statuses_of[key] == "DELAYED"
    before = utc_now() - timedelta(hours=1)
    monkeypatch.setattr("gateway.workflow.watch.utc_now", lambda: before)
    watching.watch.sweep()
    assert watching.queue.statuses_of[key] == "ENQUEUED"


def test_a_row_that_comes_back_after_another_gets_a_run_of_its_own_and_a_resend_none(watching: Watching) -> None:
    """Else the report of the row that was wrong would be the current one for ever."""
    table = watching.folder / "clinical.csv"
    table.write_text(TABLE.format(age=61))
    watching.arrives()
    watching.watch.look()
    first = watching.ends(0)
    table.write_text(TABLE.format(age=16))
    assert watching.watch.look() == 1
    second = watching.ends(1)
    watching.supersedes(first, second)
    table.write_text(TABLE.format(age=61))
    assert watching.watch.look() == 1
    third = watching.ends(2)
    watching.supersedes(second, third)
    assert len({first, second, third}) == 3
    watching.arrives()
    assert watching.watch.look() == 0
    now = {"clinical": row_digest((watching.clinical.current.table, "P1", "A1")), "model": "m", "settings": "s"}  # type: ignore[union-attr]
    runs = {digest: watching.ledger.find(digest).input for digest in (first, second, third)}  # type: ignore[union-attr]
    assert is_as_asked(runs[third], watching.ledger, **now)
    assert not is_as_asked(runs[second], watching.ledger, **now)
    assert not is_as_asked(runs[third], watching.ledger, **(now | {"model": "other"}))


def test_a_run_that_was_overtaken_before_it_began_is_asked_for_when_its_input_is_back(watching: Watching) -> None:
    """As where a study was purged while it waited, and the PACS sends it again."""
    watching.arrives()
    watching.watch.look()
    watching.ends(0, "stale")
    there, watching.objects.objects[:] = watching.objects.objects[:], []
    watching.watch.sweep()
    assert [number for _, number in watching.queue.rounds] == [1], "nothing is there to be run"
    watching.objects.objects[:] = there
    watching.arrives()
    assert watching.watch.look() == 1
    assert [number for _, number in watching.queue.rounds] == [1, 2]
    assert watching.ledger.counts()["queued"] == 1


def test_a_study_whose_run_is_stale_because_the_model_changed_is_run_with_the_new_one(watching: Watching) -> None:
    watching.arrives()
    watching.watch.look()
    watching.ends(0, "stale")
    watching.watch.look()
    watching.model = "m2"
    watching.restarted().sweep()
    first, second = (digest for digest, _ in watching.queue.rounds)
    assert first != second

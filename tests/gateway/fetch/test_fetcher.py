"""Completing studies from an archive: once, within limits, and again after a failure."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pydicom.uid import ComprehensiveSRStorage
from sqlalchemy import Engine

import gateway.fetch.notes  # noqa: F401 - its table is among those that are made
from gateway.arrival.judge import ArrivalJudge
from gateway.arrival.settings import ArrivalRules
from gateway.fetch.archive import ArchivedSeries, Put
from gateway.fetch.fetcher import Fetcher
from gateway.fetch.settings import FetchSettings
from gateway.objects.in_flight import InFlight
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.faults import PeerFaults
from gateway.records import Complete, CurrentIdentity, Refused, StudyKey, Waiting
from pdl1es.report.software import SOFTWARE
from pdl1es.settings import Settings
from tests.gateway.made_objects import made_object
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

STUDY, CT_SERIES, SR_SERIES = "1.2.3", "1.2.3.1", "1.2.3.9"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        """Start now: what is received gets the real time."""
        self.now = datetime.now(UTC) + timedelta(hours=1)

    def __call__(self) -> datetime:
        """Give the time."""
        return self.now


class Shelf:
    """An archive that holds what it is given, and fails as told."""

    sends_to_receiver = False

    def __init__(self, series: dict[str, tuple[str, list[bytes]]]) -> None:
        """Hold series: modality and objects by UID."""
        self.series = series
        self.failure: PeerFailure | None = None
        self.breaks_after = 10**6
        self.fetched: list[str] = []
        self.asked = 0
        self.on_fetch: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        """Its name."""
        return "shelf"

    def give_up(self) -> None:
        """Nothing is open."""

    def series_of(self, study_instance_uid: str) -> tuple[ArchivedSeries, ...]:
        """List what it holds."""
        self.asked += 1
        if self.failure is not None:
            raise PeerError(self.failure, "as told")
        return tuple(ArchivedSeries(uid, modality, len(data)) for uid, (modality, data) in self.series.items())

    def series_holding(self, study_instance_uid: str, sop_instance_uid: str) -> str | None:
        """Look through everything."""
        for uid, (_, objects) in self.series.items():
            if any(str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID) == sop_instance_uid for data in objects):
                return uid
        return None

    def fetch_series(self, study_instance_uid: str, series_instance_uid: str, put: Put) -> int:
        """Give each object, or some and then fail."""
        self.fetched.append(series_instance_uid)
        for number, data in enumerate(self.series[series_instance_uid][1]):
            if number >= self.breaks_after:
                raise PeerError(PeerFailure.ABORTED, "as told")
            put(io.BytesIO(data))
            self.on_fetch()
        return len(self.series[series_instance_uid][1])

    def current_identity(self, study_instance_uid: str) -> CurrentIdentity | None:
        """Nobody."""
        return None


@pytest.fixture
def phantom(phantom_study: PhantomStudy) -> tuple[StudyKey, str, bytes, list[bytes]]:
    """The study, its CT series, its SEG and its CT images."""
    header = pydicom.dcmread(phantom_study.ct.paths[0], stop_before_pixels=True)
    images = [path.read_bytes() for path in phantom_study.ct.paths]
    study = StudyKey(str(header.StudyInstanceUID))
    return study, str(header.SeriesInstanceUID), phantom_study.seg_path.read_bytes(), images


class Bench:
    """A fetcher with one archive, and a store in which a contour lies."""

    def __init__(
        self, store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]], **settings: Any
    ) -> None:
        """Make it."""
        self.study, self.series, contour, images = phantom
        self.clock = Clock()
        self.shelf = Shelf({self.series: ("CT", images), "1.9": ("CT", [made_object(series="1.9")])})
        self.store = store
        store.put(io.BytesIO(contour), ObjectOrigin("modality", "dimse"))
        archive = {"name": "shelf", "kind": "dicomweb", "service": {"url": "http://127.0.0.1:9"}}
        archive |= settings.pop("archive", {})
        self.fetcher = Fetcher(
            FetchSettings.model_validate({"archives": [archive]} | settings),
            database,
            store,
            archives=[self.shelf],
            clock=self.clock,
        )

    def count(self) -> int:
        """How many objects the study has here."""
        return len(self.store.objects_of(self.study))


@pytest.fixture
def bench(store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]]) -> Bench:
    """A fetcher."""
    return Bench(store, database, phantom)


def test_the_series_that_a_lone_contour_names_is_fetched_once(bench: Bench) -> None:
    assert bench.fetcher.complete(bench.study) == len(bench.shelf.series[bench.series][1])
    assert bench.fetcher.complete(bench.study) == 0
    assert bench.shelf.fetched == [bench.series]
    assert {one.source for one in bench.store.objects_of(bench.study)} == {"modality", "shelf"}


def test_an_archive_that_rejects_the_gateway_is_told_until_it_accepts_it(bench: Bench, database: Engine) -> None:
    bench.shelf.failure = PeerFailure.ASSOCIATION_REJECTED
    assert bench.fetcher.complete(bench.study) == 0
    (fault,) = PeerFaults(database).every()
    assert (fault.peer, fault.failure.name, fault.found) == ("archive shelf", "ASSOCIATION_REJECTED", "as told")
    bench.shelf.failure = None
    bench.clock.now += timedelta(minutes=2)
    assert bench.fetcher.complete(bench.study) > 0
    assert PeerFaults(database).every() == ()


def test_an_archive_that_answers_again_is_asked_at_once_for_all_that_waits_for_it(bench: Bench) -> None:
    bench.shelf.failure = PeerFailure.UNREACHABLE
    assert bench.fetcher.complete(bench.study) == 0
    bench.shelf.failure = None
    assert bench.fetcher.complete(bench.study) == 0, "it is not yet time"
    bench.fetcher.archive_answers()
    bench.fetcher.start()
    until(lambda: bench.count() > 1 and not bench.fetcher.notes.find(bench.study).last_error)  # type: ignore[union-attr]
    bench.fetcher.stop(PATIENCE_S)


def test_an_archive_that_was_still_receiving_the_series_is_asked_again(bench: Bench) -> None:
    modality, images = bench.shelf.series[bench.series]
    bench.shelf.series[bench.series] = (modality, images[:5])
    assert bench.fetcher.complete(bench.study) == 5
    bench.clock.now += timedelta(seconds=10)
    assert bench.fetcher.complete(bench.study) == 0
    bench.shelf.series[bench.series] = (modality, images)
    assert bench.fetcher.complete(bench.study) == 0, "it is not yet time"
    bench.clock.now += timedelta(seconds=61)
    assert bench.fetcher.complete(bench.study) > 0
    assert bench.count() == 1 + len(images)


def test_nothing_is_fetched_while_the_study_may_still_be_coming(bench: Bench) -> None:
    (contour,) = bench.store.objects_of(bench.study)
    bench.clock.now = contour.received_at + timedelta(seconds=1)
    assert bench.fetcher.complete(bench.study) == 0
    assert bench.shelf.asked == 0
    bench.clock.now += timedelta(seconds=10)
    assert bench.fetcher.complete(bench.study) > 0


def test_the_study_is_in_flight_while_it_is_fetched_and_not_after(bench: Bench, database: Engine) -> None:
    flying: list[int] = []
    in_flight = InFlight(database, grace=timedelta(minutes=10))
    bench.shelf.on_fetch = lambda: flying.append(in_flight.count(bench.study, datetime.now(UTC)))
    bench.fetcher.complete(bench.study)
    assert set(flying) == {1}
    assert in_flight.count(bench.study, datetime.now(UTC)) == 0


def test_a_transfer_that_broke_is_made_again_after_a_wait_and_ends_whole(bench: Bench) -> None:
    whole = len(bench.shelf.series[bench.series][1])
    bench.shelf.breaks_after = 3
    assert bench.fetcher.complete(bench.study) == 0
    assert bench.count() == 4
    bench.shelf.breaks_after = whole
    bench.clock.now += timedelta(seconds=61)
    assert bench.fetcher.complete(bench.study) == whole
    assert bench.count() == whole + 1


def test_an_archive_that_answers_badly_is_asked_at_intervals_and_then_given_up(
    store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]]
) -> None:
    bench = Bench(store, database, phantom, attempts=3)
    bench.shelf.failure = PeerFailure.BAD_ANSWER
    for _ in range(600):
        bench.fetcher.complete(bench.study)
        bench.clock.now += timedelta(seconds=1)
    assert bench.shelf.asked == 3
    note = bench.fetcher.notes.find(bench.study)
    assert note is not None
    assert note.next_at is None
    assert note.last_error.startswith("BAD_ANSWER: ")
    bench.shelf.failure = None
    bench.store.put(
        io.BytesIO(made_object(study=bench.study.study_instance_uid, series="1.8")), ObjectOrigin("m", "dimse")
    )
    assert bench.fetcher.complete(bench.study) > 0, "each arrival begins anew"


def test_a_contour_that_comes_while_the_archive_is_down_waits_for_it_and_is_then_run(
    store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]]
) -> None:
    """The quiet time (60 s here) refuses nothing of what an archive has not yet been asked for, or could not be."""
    bench = Bench(store, database, phantom, attempts=3)
    judge = ArrivalJudge(
        store,
        InFlight(database),
        Settings(),
        ArrivalRules(quiet_seconds=60),
        archive_until=bench.fetcher.unanswered_until,
    )
    assert isinstance(judge(bench.study, bench.clock.now), Waiting), "nobody has asked it yet"
    bench.shelf.failure = PeerFailure.UNREACHABLE
    for _ in range(10):
        bench.fetcher.complete(bench.study)
        found = judge(bench.study, bench.clock.now)
        assert isinstance(found, Waiting)
        assert found.until is not None
        assert found.until > bench.clock.now
        assert bench.fetcher.ask(bench.study, bench.clock.now) is not None
        bench.clock.now += timedelta(seconds=61)
    assert bench.shelf.asked == 10
    bench.shelf.failure = None
    assert bench.fetcher.complete(bench.study) > 0
    assert isinstance(judge(bench.study, bench.clock.now), Complete)


def test_a_contour_whose_study_no_archive_has_is_refused_after_the_quiet_time(
    bench: Bench, store: ObjectStore, database: Engine
) -> None:
    bench.shelf.series = {}
    rules = ArrivalRules(quiet_seconds=60)
    judge = ArrivalJudge(store, InFlight(database), Settings(), rules, archive_until=bench.fetcher.unanswered_until)
    bench.fetcher.complete(bench.study)
    assert isinstance(judge(bench.study, bench.clock.now), Refused)


def test_what_was_given_up_can_be_asked_for_again(
    store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]]
) -> None:
    bench = Bench(store, database, phantom, attempts=1)
    bench.shelf.failure = PeerFailure.REFUSED
    bench.fetcher.complete(bench.study)
    bench.shelf.failure = None
    assert bench.fetcher.complete(bench.study) == 0
    bench.fetcher.notes.forget(bench.study)
    assert bench.fetcher.complete(bench.study) > 0


def test_an_archive_without_the_study_is_told(bench: Bench) -> None:
    bench.shelf.series = {}
    bench.fetcher.complete(bench.study)
    note = bench.fetcher.notes.find(bench.study)
    assert note is not None
    assert note.last_error == "no archive has the study"


def test_an_archive_completes_the_studies_of_its_sources_alone(
    store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]]
) -> None:
    bench = Bench(store, database, phantom, archive={"sources": ["another"]})
    assert bench.fetcher.complete(bench.study) == 0
    assert bench.shelf.asked == 0


def test_a_study_without_contour_has_nothing_fetched(bench: Bench) -> None:
    bench.store.put(io.BytesIO(made_object(study="1.2.77")), ObjectOrigin("modality", "dimse"))
    assert bench.fetcher.complete(StudyKey("1.2.77")) == 0
    assert bench.shelf.asked == 0


def test_a_clock_that_steps_back_delays_nothing_by_more_than_a_day(bench: Bench) -> None:
    bench.shelf.failure = PeerFailure.UNREACHABLE
    bench.fetcher.complete(bench.study)
    bench.shelf.failure = None
    bench.clock.now -= timedelta(days=30)
    assert bench.fetcher.complete(bench.study) > 0


@pytest.fixture
def running(bench: Bench) -> Iterator[Bench]:
    """A fetcher whose thread runs."""
    bench.fetcher.start()
    yield bench
    bench.fetcher.stop(PATIENCE_S)


def test_asking_returns_at_once_and_the_thread_fetches(running: Bench) -> None:
    for _ in range(100):
        running.fetcher.ask(running.study, running.clock())
    whole = len(running.shelf.series[running.series][1])
    until(lambda: running.count() == whole + 1)
    assert running.shelf.fetched == [running.series]


def test_a_contour_that_came_just_now_is_to_be_asked_for_when_its_wait_is_over(bench: Bench) -> None:
    """Most senders hang up at once: the study is judged then, and not again before something else arrives."""
    (contour,) = bench.store.objects_of(bench.study)
    settled = contour.received_at + timedelta(seconds=5)
    assert bench.fetcher.ask(bench.study, contour.received_at + timedelta(seconds=0.2)) == settled
    assert bench.fetcher.ask(bench.study, settled) == settled + timedelta(seconds=60)


def test_what_failed_is_to_be_asked_for_again_as_often_as_the_settings_say(
    store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]]
) -> None:
    bench = Bench(store, database, phantom, attempts=2)
    bench.shelf.failure = PeerFailure.REFUSED
    bench.fetcher.complete(bench.study)
    again = bench.clock.now + timedelta(seconds=60)
    assert bench.fetcher.ask(bench.study, bench.clock.now + timedelta(seconds=1)) == again
    bench.clock.now = again
    bench.fetcher.complete(bench.study)
    assert bench.fetcher.ask(bench.study, again + timedelta(seconds=1)) is None


def test_a_study_that_no_archive_serves_is_not_asked_for(
    store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]]
) -> None:
    bench = Bench(store, database, phantom, archive={"sources": ["another"]})
    assert bench.fetcher.ask(bench.study, bench.clock.now) is None


def report(uid: str, manufacturer: str, model: str) -> bytes:
    """A structured report of some software."""
    return made_object(
        uid, series=SR_SERIES, sop_class=ComprehensiveSRStorage, Manufacturer=manufacturer, ManufacturerModelName=model
    )


def test_earlier_reports_are_those_of_this_software_and_each_once(bench: Bench, tmp_path: Path) -> None:
    bench.shelf.series = {
        SR_SERIES: (
            "SR",
            [
                report("1.2.3.9.1", SOFTWARE.manufacturer, SOFTWARE.name),
                report("1.2.3.9.2", "Somebody", "Else"),
                report("1.2.3.9.3", SOFTWARE.manufacturer, SOFTWARE.name),
            ],
        ),
        CT_SERIES: ("CT", [made_object()]),
    }
    folder = tmp_path / "earlier"
    folder.mkdir()
    (folder / "mine.dcm").write_bytes(report("1.2.3.9.3", SOFTWARE.manufacturer, SOFTWARE.name))
    assert bench.fetcher.earlier_reports(bench.study, folder) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["1.2.3.9.1.dcm", "mine.dcm"]
    assert bench.shelf.fetched == [SR_SERIES]


def test_too_many_reports_are_not_fetched(bench: Bench, tmp_path: Path) -> None:
    bench.shelf.series = {SR_SERIES: ("SR", [b""] * 51)}
    with pytest.raises(PeerError) as caught:
        bench.fetcher.earlier_reports(bench.study, tmp_path)
    assert caught.value.failure is PeerFailure.LIMIT_EXCEEDED


def test_an_archive_that_cannot_be_asked_for_reports_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.shelf.failure = PeerFailure.TIMEOUT
    with pytest.raises(PeerError):
        bench.fetcher.earlier_reports(bench.study, tmp_path)


def test_earlier_reports_can_be_left_where_they_are(
    store: ObjectStore, database: Engine, phantom: tuple[StudyKey, str, bytes, list[bytes]], tmp_path: Path
) -> None:
    bench = Bench(store, database, phantom, earlier_reports=False)
    assert bench.fetcher.earlier_reports(bench.study, tmp_path) == 0
    assert bench.shelf.asked == 0


def test_a_defect_with_one_study_does_not_end_the_fetching_for_the_others(
    store: ObjectStore, database: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fetcher = Fetcher(FetchSettings(), database, store, archives=[])
    done: list[StudyKey] = []

    def complete(study: StudyKey) -> int:
        if study == StudyKey("1.1"):
            raise ZeroDivisionError
        done.append(study)
        return 0

    monkeypatch.setattr(fetcher, "complete", complete)
    fetcher.start()
    for name in ("1.1", "1.1", "1.2"):
        with fetcher._changed:
            fetcher._asked[StudyKey(name)] = None
            fetcher._changed.notify()
        until(lambda: not fetcher._asked)
    until(lambda: done == [StudyKey("1.2")])
    fetcher.stop(PATIENCE_S)
    assert fetcher.failing == 1
    assert len([record for record in caplog.records if record.exc_info]) == 1

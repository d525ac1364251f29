"""Completes studies from an archive: the CT series that a contour names, and this software's earlier reports."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import utc_now
from gateway.fetch.answers import own_report
from gateway.fetch.archive import Archive
from gateway.fetch.dicom_archive import DimseArchive
from gateway.fetch.drawn_on import CONTOUR_CLASSES, DrawnOn, read_drawn_on, series_to_fetch
from gateway.fetch.notes import FetchNotes
from gateway.fetch.settings import ArchiveSettings, FetchSettings, WebArchive
from gateway.fetch.web_archive import DicomWebArchive
from gateway.objects.errors import NotStorableError, StoreUnavailableError
from gateway.objects.in_flight import InFlight
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.faults import PeerFaults
from gateway.records import CurrentIdentity, StoredObject, StudyKey
from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.header import read_instance
from pdl1es.errors import Refusal

logger = logging.getLogger("pdl1es.gateway.fetch")

SR: Final = "SR"
_DEFECT_LASTS_SECONDS: Final = 1800.0
"""A study that is not tried any more has none."""


class _GivenUpError(Exception):
    """The gateway stops: what is being fetched is given up, and fetched again after the next start."""


class Fetcher:
    """Fetches what studies lack, in a thread of its own, so that a slow archive holds nothing else up."""

    def __init__(
        self,
        settings: FetchSettings,
        engine: Engine,
        objects: ObjectStore,
        *,
        archives: Sequence[Archive] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make the archives of the settings.

        Parameters
        ----------
        settings
            The section ``fetch`` of ``gateway.yaml``.
        engine
            The gateway's database, with its tables.
        objects
            The object store.
        archives
            In place of those of the settings, in the same order.
        clock
            Gives the time in UTC.
        """
        self._settings = settings
        self.notes = FetchNotes(engine)
        self._objects = objects
        self._in_flight = InFlight(engine)
        self._faults = PeerFaults(engine, clock)
        self._archives = [open_archive(one) for one in settings.archives] if archives is None else list(archives)
        self.archives = {own.name: archive for archive, own in zip(self._archives, settings.archives, strict=True)}
        """By name."""
        self._clock = clock
        self._asked: dict[StudyKey, None] = {}
        self._defects: dict[StudyKey, tuple[str, float]] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)

    @property
    def failing(self) -> int:
        """How many studies nothing could be fetched for because of a defect, of those that were tried of late."""
        now = time.monotonic()
        return sum(now - at < _DEFECT_LASTS_SECONDS for _, at in tuple(self._defects.values()))

    def start(self) -> None:
        """Begin to fetch what is asked for."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Begin nothing new, give up what is being fetched, and wait until that has ended.

        Parameters
        ----------
        seconds
            At most so long; what is interrupted is fetched again.
        """
        with self._changed:
            self._ended = True
            self._changed.notify()
        for archive in self._archives:
            archive.give_up()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def ask(self, study: StudyKey, now: datetime) -> datetime | None:
        """Have the thread fetch what a study lacks, if its time has come; returns at once, and asking again costs nothing.

        Parameters
        ----------
        study
            Which study.
        now
            The time, UTC.

        Returns
        -------
        datetime or None
            When to ask again though nothing more arrives: when its time comes, or when an attempt that begins now may be
            repeated. None where no archive is asked any more.
        """
        there = self._objects.objects_of(study)
        if not there or not self._serving(there):
            return None
        if not self._is_due(study, there, now):
            settled = max(stored.received_at for stored in there) + timedelta(seconds=self._settings.after_seconds)
            return settled if settled > now else self.notes.next_at(study)
        with self._changed:
            self._asked[study] = None
            self._changed.notify()
        return now + timedelta(seconds=self._settings.again_seconds)

    def archive_answers(self) -> None:
        """Have the thread fetch now for every study that waits for an archive that was down."""
        waiting = self.notes.hasten(self._clock())
        with self._changed:
            self._asked |= dict.fromkeys(waiting)
            self._changed.notify()

    def unanswered_until(self, study: StudyKey, now: datetime) -> datetime | None:
        """Return until when an archive that has to be asked for the rest of a study has not answered.

        Parameters
        ----------
        study
            Which study.
        now
            The time, UTC.

        Returns
        -------
        datetime or None
            When to look again; None where no archive completes the study, where one has answered, or where it is given up.
        """
        return self.notes.unanswered_until(study, self._objects.objects_of(study), self._settings, now)

    def complete(self, study: StudyKey) -> int:
        """Fetch what a study lacks, if its contour says what, and if its time has come.

        Parameters
        ----------
        study
            Which study.

        Returns
        -------
        int
            How many objects were fetched; 0 where nothing was lacking, or it is not yet time.
        """
        there = self._objects.objects_of(study)
        now = self._clock()
        serving = self._serving(there)
        if not serving or not self._is_due(study, there, now):
            return 0
        holder = f"fetch {study.study_instance_uid}"
        error, count = "", 0
        try:
            if not any(stored.sop_class_uid in CONTOUR_CLASSES for stored in there):
                return 0
            if (drawn := self._drawn_on(there)) is None:
                error = "the contour cannot be read"
            else:
                for archive, name in serving:
                    with self._asking(name):
                        found = self._from(archive, name, study, there, drawn, holder)
                    if found is not None:
                        count = found
                        break
                else:
                    error = "no archive has the study"
        except Refusal as refusal:
            error = f"{refusal.code.name}: what was fetched is refused"  # its own words name UIDs, and this is logged
        except (PeerError, NotStorableError, StoreUnavailableError) as failure:
            if self._ended:
                return 0  # it was given up: that says nothing of the study, nor of the archive
            error = str(failure)
        finally:
            self._in_flight.release(holder)
        self.notes.record(study, len(there), error=error, now=now, settings=self._settings)
        if error:
            logger.warning("nothing could be fetched: %s", error, extra={"study": study})
        else:
            logger.info("objects that were fetched: %d", count, extra={"study": study})
        return count

    def earlier_reports(self, study: StudyKey, folder: Path) -> int:
        """Put this software's earlier reports that the archives have of a study into a folder.

        Parameters
        ----------
        study
            Which study.
        folder
            Reports that lie in it already are left out.

        Returns
        -------
        int
            How many were put there.

        Raises
        ------
        PeerError
            An archive could not be asked: a report that does not name its predecessor is not made for that.
        """
        if not self._settings.earlier_reports:
            return 0
        uid = study.study_instance_uid
        seen = set()
        for path in folder.glob("*.dcm"):
            with path.open("rb") as file:
                seen.add(own_report(file))
        count = 0

        def keep(file: BinaryIO) -> None:
            nonlocal count
            if (sop_uid := own_report(file)) and sop_uid not in seen:
                (folder / f"{sop_uid}.dcm").write_bytes(file.read())
                seen.add(sop_uid)
                count += 1

        for archive, settings in self._serving(self._objects.objects_of(study)):
            with self._asking(settings):
                found = [one for one in archive.series_of(uid) if one.modality == SR]
            if sum(one.images or 1 for one in found) > settings.limits.max_reports:
                raise PeerError(
                    PeerFailure.LIMIT_EXCEEDED, f"the study has more than {settings.limits.max_reports} reports"
                )
            for series in found:
                with self._asking(settings):
                    moved = archive.fetch_series(uid, series.series_instance_uid, keep)
                if archive.sends_to_receiver:
                    for stored in self._arrived(study, series.series_instance_uid, moved, settings):
                        with self._objects.path_of(stored).open("rb") as file:
                            keep(file)
        return count

    def current_identity(self, study: StudyKey) -> CurrentIdentity | None:
        """Return who a study's patient is now for the first archive that has it.

        Parameters
        ----------
        study
            Which study.

        Returns
        -------
        CurrentIdentity or None
            None where no archive has the study.

        Raises
        ------
        PeerError
            An archive could not be asked.
        """
        for archive, settings in self._serving(self._objects.objects_of(study)):
            with self._asking(settings):
                identity = archive.current_identity(study.study_instance_uid)
            if identity is not None:
                return identity
        return None

    @contextmanager
    def _asking(self, settings: ArchiveSettings) -> Iterator[None]:
        """Speak to an archive and keep whether it worked; what is given up at the stop says nothing of it."""
        try:
            with self._faults.noted(f"archive {settings.name}"):
                self._go_on()
                try:
                    yield
                except PeerError as error:
                    if self._ended:
                        raise _GivenUpError from error
                    raise
        except _GivenUpError as error:
            raise PeerError(PeerFailure.ABORTED, "given up, because the gateway stops") from error

    def _go_on(self) -> None:
        if self._ended:
            raise _GivenUpError

    def _serving(self, there: Sequence[StoredObject]) -> list[tuple[Archive, ArchiveSettings]]:
        sources = {stored.source for stored in there}
        pairs = zip(self._archives, self._settings.archives, strict=True)
        return [(archive, own) for archive, own in pairs if not own.sources or sources & set(own.sources)]

    def _is_due(self, study: StudyKey, there: Sequence[StoredObject], now: datetime) -> bool:
        if not there:
            return False
        quiet = now - max(stored.received_at for stored in there)
        if timedelta(0) <= quiet < timedelta(seconds=self._settings.after_seconds):
            return False
        return self.notes.is_due(study, len(there), now)

    def _drawn_on(self, there: Sequence[StoredObject]) -> DrawnOn | None:
        contours = [stored for stored in there if stored.sop_class_uid in CONTOUR_CLASSES]
        try:
            instances = [read_instance(self._objects.path_of(stored)) for stored in contours]
        except (NotDicomError, UnreadableFileError):
            return None  # the run refuses it, with its reason
        return read_drawn_on(instances) if instances else None

    def _from(
        self,
        archive: Archive,
        settings: ArchiveSettings,
        study: StudyKey,
        there: Sequence[StoredObject],
        drawn: DrawnOn,
        holder: str,
    ) -> int | None:
        """Fetch from one archive; None where it does not have the study."""
        uid = study.study_instance_uid
        archived = archive.series_of(uid)
        if not archived:
            return None
        if not drawn.series and drawn.images:
            series = archive.series_holding(uid, min(drawn.images))
            drawn = DrawnOn((series,) if series else (), drawn.images)
        stored: defaultdict[str, set[str]] = defaultdict(set)
        for one in there:
            stored[one.series_instance_uid].add(one.sop_instance_uid)
        origin = ObjectOrigin(source=settings.name, kind="fetch", holder=holder)

        def put(file: BinaryIO) -> None:
            self._go_on()
            self._objects.put(file, origin)

        wanted = series_to_fetch(drawn, archived, {name: frozenset(uids) for name, uids in stored.items()})
        return sum(archive.fetch_series(uid, series, put) for series in wanted)

    def _arrived(
        self, study: StudyKey, series_instance_uid: str, count: int, settings: ArchiveSettings
    ) -> list[StoredObject]:
        """Wait until what was moved has arrived at the receiver."""
        seconds = 0.0 if isinstance(settings, WebArchive) else settings.arrival_seconds
        until = time.monotonic() + seconds
        while True:
            there = [
                stored
                for stored in self._objects.objects_of(study)
                if stored.series_instance_uid == series_instance_uid
            ]
            if len(there) >= count:
                return there
            if self._ended:
                raise PeerError(PeerFailure.ABORTED, "given up, because the gateway stops")
            if time.monotonic() > until:
                raise PeerError(
                    PeerFailure.TIMEOUT,
                    f"{len(there)} of {count} moved objects arrived at the receiver in {seconds:g} s",
                )
            time.sleep(0.2)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._asked and not self._ended:
                    self._changed.wait()
                if self._ended:
                    return
                study = next(iter(self._asked))
                del self._asked[study]
            try:
                self.complete(study)
            except SQLAlchemyError:
                # The study waits on, and is asked for again when it is judged again.
                logger.warning("the database does not answer; nothing is fetched", extra={"study": study})
            except Exception as error:
                # A defect with one study does not end the fetching for all others; it is asked for again when it is judged again.
                found = f"a defect ({type(error).__name__})"
                if self._defects.get(study, ("", 0.0))[0] != found:
                    logger.exception("nothing could be fetched: %s", found, extra={"study": study})
                self._defects[study] = found, time.monotonic()
            else:
                self._defects.pop(study, None)


def open_archive(settings: ArchiveSettings) -> Archive:
    """Return the archive that settings describe.

    Parameters
    ----------
    settings
        One of ``fetch.archives``.

    Returns
    -------
    Archive
    """
    return DicomWebArchive(settings) if isinstance(settings, WebArchive) else DimseArchive(settings)

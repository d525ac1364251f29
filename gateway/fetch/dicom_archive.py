"""An archive that speaks DIMSE: it is asked by C-FIND, and objects come by C-MOVE to the receiver or by C-GET (PS3.4 annex C)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    LegacyConvertedEnhancedCTImageStorage,
    RLELossless,
)
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from gateway.fetch.answers import IDENTITY_KEYWORDS, identity_of, number_of, require_series
from gateway.fetch.archive import ArchivedSeries, Put
from gateway.fetch.settings import DicomArchive
from gateway.peers.association import Handlers, accepts, associated, cut, require_success
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.query import PENDING, find, find_context
from gateway.records import CurrentIdentity

FETCHED: Final = (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
)
"""SOP classes that are taken by C-GET."""
SYNTAXES: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
)
"""Each in a context of its own, so that the archive gives an object as it is stored."""
REFUSED_OBJECT: Final = 0xA700


class DimseArchive:
    """An archive on the other side of a `DicomNode`."""

    def __init__(self, settings: DicomArchive) -> None:
        """Keep the settings; nothing is connected yet."""
        self._settings = settings
        self._open: set[Association] = set()

    @contextmanager
    def _associated(
        self,
        contexts: Sequence[PresentationContext],
        handlers: Handlers = (),
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    ) -> Iterator[Association]:
        """Open an association that `give_up` finds."""
        with associated(self._settings.node, contexts, handlers, roles) as association:
            self._open.add(association)
            try:
                yield association
            finally:
                self._open.discard(association)

    def give_up(self) -> None:
        """End what is being fetched: see `Archive`."""
        for association in self._open.copy():
            cut(association)

    @property
    def name(self) -> str:
        """Its name in ``gateway.yaml``."""
        return self._settings.name

    @property
    def sends_to_receiver(self) -> bool:
        """Whether it is asked to send to the receiver (C-MOVE)."""
        return self._settings.move_to is not None

    def series_of(self, study_instance_uid: str) -> tuple[ArchivedSeries, ...]:
        """Return the series of a study: see `Archive`."""
        with self._associated([find_context()]) as association:
            return _series_of(association, study_instance_uid)

    def series_holding(self, study_instance_uid: str, sop_instance_uid: str) -> str | None:
        """Find the series of an object: see `Archive`.

        A query for objects has to name their series (PS3.4 C.4.1.3.1), so that each series of the study is asked.

        Parameters
        ----------
        study_instance_uid
            Of its study.
        sop_instance_uid
            Of the object.

        Returns
        -------
        str or None
        """
        with self._associated([find_context()]) as association:
            for series in _series_of(association, study_instance_uid):
                match = {
                    "StudyInstanceUID": study_instance_uid,
                    "SeriesInstanceUID": series.series_instance_uid,
                    "SOPInstanceUID": sop_instance_uid,
                }
                found = find(association, "IMAGE", match)
                if any(str(item.get("SOPInstanceUID", "")) == sop_instance_uid for item in found):
                    return series.series_instance_uid
        return None

    def fetch_series(self, study_instance_uid: str, series_instance_uid: str, put: Put) -> int:
        """Fetch all objects of a series: see `Archive`.

        Parameters
        ----------
        study_instance_uid
            Of its study.
        series_instance_uid
            Of the series.
        put
            Takes each object; not used with C-MOVE.

        Returns
        -------
        int

        Raises
        ------
        PeerError
            Not all came.
        """
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "SERIES"
        wanted.StudyInstanceUID = study_instance_uid
        wanted.SeriesInstanceUID = series_instance_uid
        if self._settings.move_to is not None:
            return self._move(wanted, self._settings.move_to)
        return self._get(wanted, put)

    def current_identity(self, study_instance_uid: str) -> CurrentIdentity | None:
        """Return who the study's patient is now: see `Archive`."""
        with self._associated([find_context()]) as association:
            found = find(association, "STUDY", {"StudyInstanceUID": study_instance_uid}, IDENTITY_KEYWORDS)
        return identity_of(found, study_instance_uid)

    def _move(self, wanted: Dataset, receiver: str) -> int:
        model = StudyRootQueryRetrieveInformationModelMove
        with self._associated([build_context(model)]) as association:
            _require(association, model, "MOVE")
            return _completed(association.send_c_move(wanted, receiver, model), f"C-MOVE to {receiver}")

    def _get(self, wanted: Dataset, put: Put) -> int:
        model, taker = StudyRootQueryRetrieveInformationModelGet, _Taker(self._settings, wanted, put)
        contexts: list[PresentationContext] = [build_context(model)]
        contexts += [build_context(sop_class, syntax) for sop_class in FETCHED for syntax in SYNTAXES]
        roles = [build_role(sop_class, scp_role=True) for sop_class in FETCHED]
        handlers: list[tuple[evt.EventType, Callable[..., Any]]] = [(evt.EVT_C_STORE, taker.take)]
        with self._associated(contexts, handlers, roles) as association:
            _require(association, model, "GET")
            try:
                completed = _completed(association.send_c_get(wanted, model), "C-GET")
            except PeerError:
                taker.raise_first()
                raise
        taker.raise_first()
        if completed != taker.count:
            raise PeerError(PeerFailure.BAD_ANSWER, f"C-GET: {completed} objects were said to come, {taker.count} came")
        return taker.count


class _Taker:
    """Takes the objects that come within a C-GET. An error is kept, because pynetdicom makes a status of it."""

    def __init__(self, settings: DicomArchive, wanted: Dataset, put: Put) -> None:
        self._limits = settings.limits
        self._uids = (str(wanted.StudyInstanceUID), str(wanted.SeriesInstanceUID))
        self._put = put
        self._bytes = 0
        self.count = 0
        self._error: Exception | None = None

    def raise_first(self) -> None:
        if self._error is not None:
            raise self._error

    def take(self, event: Any) -> int:
        if self._error is not None:
            return REFUSED_OBJECT
        try:
            self._take(event)
        except Exception as error:
            self._error = error
            raise  # pynetdicom answers with a failure
        return 0x0000

    def _take(self, event: Any) -> None:
        data = event.encoded_dataset()
        self._bytes += len(data)
        limits = self._limits
        if (
            len(data) > limits.max_object_bytes
            or self._bytes > limits.max_series_bytes
            or self.count >= limits.max_objects_of_series
        ):
            raise PeerError(PeerFailure.LIMIT_EXCEEDED, "C-GET: the series is larger than the limits allow")
        file = BytesIO(data)
        require_series(file, *self._uids)
        self._put(file)
        self.count += 1


def _series_of(association: Association, study_instance_uid: str) -> tuple[ArchivedSeries, ...]:
    wanted = ("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
    found = find(association, "SERIES", {"StudyInstanceUID": study_instance_uid}, wanted)
    return tuple(
        ArchivedSeries(
            str(item.get("SeriesInstanceUID", "")),
            str(item.get("Modality", "") or ""),
            number_of(item, "NumberOfSeriesRelatedInstances"),
        )
        for item in found
    )


def _require(association: Association, model: str, name: str) -> None:
    if not accepts(association, model):
        raise PeerError(PeerFailure.NOT_ACCEPTED, f"Study Root Query/Retrieve - {name}")


def _completed(responses: Any, what: str) -> int:
    """Follow a C-MOVE or C-GET to its end; return how many objects came."""
    for status, _ in responses:
        if status.get("Status") in PENDING:
            continue
        require_success(status, what)
        failed = int(status.get("NumberOfFailedSuboperations", 0) or 0)
        if failed:
            raise PeerError(PeerFailure.REFUSED, f"{what}: {failed} objects did not come")
        completed = int(status.get("NumberOfCompletedSuboperations", 0) or 0)
        return completed + int(status.get("NumberOfWarningSuboperations", 0) or 0)
    raise PeerError(PeerFailure.ABORTED, f"{what}: no final answer")

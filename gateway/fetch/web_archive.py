"""An archive that speaks DICOMweb: it is asked by QIDO-RS, and objects come by WADO-RS as they are stored (PS3.18 10.4, 10.6)."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

from pydicom.dataset import Dataset

from gateway.fetch.answers import identity_of, number_of, require_series
from gateway.fetch.archive import ArchivedSeries, Put
from gateway.fetch.multipart import boundary_of, read_parts
from gateway.fetch.settings import WebArchive
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.web import open_client, open_session, reasons, status_error
from gateway.records import CurrentIdentity
from pdl1es.dicom.header_elements import MALFORMED
from pdl1es.dicom.silence import silenced_pydicom

MOST_JSON_BYTES: Final = 64 * 2**20
"""Largest answer to a query."""
_NO_DICOM_JSON: Final = (*MALFORMED, RecursionError)
"""What pydicom raises on JSON that is no data set."""
ACCEPT: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Objects in the transfer syntax in which they are stored: nothing is transcoded."""


class DicomWebArchive:
    """An archive on the other side of a `WebService`."""

    sends_to_receiver: Final = False

    def __init__(self, settings: WebArchive) -> None:
        """Keep the settings; nothing is connected yet."""
        self._settings = settings

    def give_up(self) -> None:
        """Do nothing: a fetch ends with the object that comes, or with the server's silence. See `Archive`."""

    @property
    def name(self) -> str:
        """Its name in ``gateway.yaml``."""
        return self._settings.name

    def series_of(self, study_instance_uid: str) -> tuple[ArchivedSeries, ...]:
        """Return the series of a study: see `Archive`."""
        client = open_client(self._settings.service, MOST_JSON_BYTES)
        with reasons("QIDO-RS for series"):
            found = _matches(
                client.search_for_series(study_instance_uid, fields=["Modality", "NumberOfSeriesRelatedInstances"])
            )
            return tuple(
                ArchivedSeries(
                    str(item.get("SeriesInstanceUID", "")),
                    str(item.get("Modality", "") or ""),
                    number_of(item, "NumberOfSeriesRelatedInstances"),
                )
                for item in found
            )

    def series_holding(self, study_instance_uid: str, sop_instance_uid: str) -> str | None:
        """Find the series of an object: see `Archive`.

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
        client = open_client(self._settings.service, MOST_JSON_BYTES)
        with reasons("QIDO-RS for an object"):
            found = _matches(
                client.search_for_instances(
                    study_instance_uid,
                    search_filters={"SOPInstanceUID": sop_instance_uid},
                    fields=["SeriesInstanceUID"],
                )
            )
            fitting = [item for item in found if str(item.get("SOPInstanceUID", "")) == sop_instance_uid]
            return str(fitting[0].get("SeriesInstanceUID", "")) or None if fitting else None

    def fetch_series(self, study_instance_uid: str, series_instance_uid: str, put: Put) -> int:
        """Fetch all objects of a series: see `Archive`.

        Parameters
        ----------
        study_instance_uid
            Of its study.
        series_instance_uid
            Of the series.
        put
            Takes each object.

        Returns
        -------
        int

        Raises
        ------
        PeerError
            Not all came.
        """
        service, limits = self._settings.service, self._settings.limits
        count = 0
        with reasons("WADO-RS"), open_session(service, limits.max_series_bytes) as session:
            answer = session.get(
                f"{service.url}/studies/{study_instance_uid}/series/{series_instance_uid}",
                headers={"Accept": ACCEPT},
                timeout=(service.connect_seconds, service.response_seconds),
                stream=True,
            )
            with answer:
                if not answer.ok or answer.status_code != 200:
                    raise status_error("WADO-RS", answer.status_code)
                boundary = boundary_of(answer.headers.get("Content-Type", ""))
                parts = read_parts(answer.iter_content(2**18), boundary, limits.max_object_bytes)
                for part in parts:
                    count += 1
                    if count > limits.max_objects_of_series:
                        raise PeerError(
                            PeerFailure.LIMIT_EXCEEDED,
                            f"the series has more than {limits.max_objects_of_series} objects",
                        )
                    self._take(part, study_instance_uid, series_instance_uid, put)
        return count

    def current_identity(self, study_instance_uid: str) -> CurrentIdentity | None:
        """Return who the study's patient is now: see `Archive`."""
        client = open_client(self._settings.service, MOST_JSON_BYTES)
        with reasons("QIDO-RS for a study"):
            found = _matches(
                client.search_for_studies(
                    search_filters={"StudyInstanceUID": study_instance_uid},
                    fields=[
                        "PatientID",
                        "IssuerOfPatientID",
                        "PatientName",
                        "PatientBirthDate",
                        "PatientSex",
                        "AccessionNumber",
                    ],
                )
            )
            return identity_of(found, study_instance_uid)

    @staticmethod
    def _take(part: BinaryIO, study_instance_uid: str, series_instance_uid: str, put: Put) -> None:
        require_series(part, study_instance_uid, series_instance_uid)
        put(part)


def _matches(found: list[dict[str, Any]]) -> list[Dataset]:
    try:
        with silenced_pydicom():
            matches = [Dataset.from_json(item) for item in found]
            for match in matches:
                match.decode()
    except _NO_DICOM_JSON as error:
        raise PeerError(PeerFailure.BAD_ANSWER, "QIDO-RS: the answer is no DICOM JSON") from error
    return matches

"""What the gateway asks of an archive, whatever protocol it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from gateway.records import CurrentIdentity

Put = Callable[[BinaryIO], None]
"""Takes one fetched object as a file, which is closed after the call."""


@dataclass(frozen=True, slots=True)
class ArchivedSeries:
    """One series that an archive has.

    Attributes
    ----------
    series_instance_uid
        Its UID.
    modality
        ``CT``, ``SR``...; empty where the archive does not say.
    images
        Number of its objects; None where the archive does not say.
    """

    series_instance_uid: str
    modality: str
    images: int | None


class Archive(Protocol):
    """An archive that is asked and fetched from."""

    @property
    def name(self) -> str:
        """Its name in ``gateway.yaml``."""

    @property
    def sends_to_receiver(self) -> bool:
        """Whether what is fetched comes by way of the receiver (C-MOVE), and not to `Put`."""

    def give_up(self) -> None:
        """End what is being fetched, from another thread: whoever waits for it gets a `PeerError`."""

    def series_of(self, study_instance_uid: str) -> tuple[ArchivedSeries, ...]:
        """Return the series of a study; none where the archive does not have it.

        Raises
        ------
        PeerError
            It could not be asked.
        """

    def series_holding(self, study_instance_uid: str, sop_instance_uid: str) -> str | None:
        """Find the series of an object.

        Parameters
        ----------
        study_instance_uid
            Of its study.
        sop_instance_uid
            Of the object.

        Returns
        -------
        str or None
            Series Instance UID.

        Raises
        ------
        PeerError
            It could not be asked.
        """

    def fetch_series(self, study_instance_uid: str, series_instance_uid: str, put: Put) -> int:
        """Fetch all objects of a series.

        Parameters
        ----------
        study_instance_uid
            Of its study.
        series_instance_uid
            Of the series.
        put
            Takes each object, unless the archive sends to the receiver.

        Returns
        -------
        int
            How many there were.

        Raises
        ------
        PeerError
            Not all came; those that did were put.
        """

    def current_identity(self, study_instance_uid: str) -> CurrentIdentity | None:
        """Return who the study's patient is now; None where the archive does not have the study.

        Raises
        ------
        PeerError
            It could not be asked, or has several studies of one UID.
        """

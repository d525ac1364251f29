"""A stop gives up what is being fetched: a C-MOVE that goes on for minutes does not hold the gateway up."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)
from sqlalchemy import Engine

from gateway.fetch.fetcher import Fetcher
from gateway.fetch.settings import FetchSettings
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerError
from gateway.peers.faults import PeerFaults
from gateway.records import StudyKey
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1es.phantom.dicom import PhantomStudy

CT, REPORTS = "CT", "SR"


class SlowArchive:
    """It has one series of a study, and a C-MOVE of it goes on until the test ends."""

    def __init__(self, series: str, modality: str) -> None:
        self.moving, self.over = threading.Event(), threading.Event()
        entity = AE("SLOW")
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove)

        def found(_event: Any) -> Iterator[tuple[int, Dataset]]:
            match = Dataset()
            match.QueryRetrieveLevel, match.SeriesInstanceUID, match.Modality = "SERIES", series, modality
            yield 0xFF00, match

        def moved(_event: Any) -> Iterator[Any]:
            self.moving.set()
            self.over.wait(PATIENCE_S)
            yield None, None

        handlers: list[Any] = [(evt.EVT_C_FIND, found), (evt.EVT_C_MOVE, moved)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert server is not None
        self.server, self.port = server, server.server_address[1]

    def end(self) -> None:
        """Let the C-MOVE end, and the archive."""
        self.over.set()
        self.server.shutdown()


@pytest.mark.parametrize("modality", [CT, REPORTS])
def test_a_stop_gives_up_a_c_move_and_blames_neither_archive_nor_study(
    store: ObjectStore, database: Engine, phantom_study: PhantomStudy, tmp_path: Path, modality: str
) -> None:
    header = pydicom.dcmread(phantom_study.ct.paths[0], stop_before_pixels=True)
    study = StudyKey(str(header.StudyInstanceUID))
    store.put(io.BytesIO(phantom_study.seg_path.read_bytes()), ObjectOrigin("modality", "dimse"))
    archive = SlowArchive(str(header.SeriesInstanceUID), modality)
    node = {"ae_title": "SLOW", "host": "127.0.0.1", "port": archive.port, "response_seconds": PATIENCE_S}
    described = {"name": "slow", "kind": "dicom", "node": node, "move_to": "GATEWAY"}
    settings = FetchSettings.model_validate({"archives": [described], "after_seconds": 0})
    fetcher = Fetcher(settings, database, store)
    ended: list[object] = []

    def fetch() -> None:
        try:
            ended.append(fetcher.complete(study) if modality == CT else fetcher.earlier_reports(study, tmp_path))
        except PeerError as error:
            ended.append(error.found)

    thread = threading.Thread(target=fetch)
    thread.start()
    try:
        assert archive.moving.wait(PATIENCE_S)
        assert ended == []
        fetcher.stop(PATIENCE_S)
        until(lambda: bool(ended))  # while the archive is still moving
        assert not archive.over.is_set()
    finally:
        archive.end()
        thread.join()
    assert ended == [0 if modality == CT else "given up, because the gateway stops"]
    assert PeerFaults(database).every() == ()
    assert fetcher.notes.find(study) is None, "it is fetched after the next start"

"""An archive that answers nonsense: a coded failure or nothing, never a defect, never an object of another series."""

from __future__ import annotations

import contextlib
import json
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import gateway.fetch.notes  # noqa: F401 - its table is among those that are made
from gateway.fetch.fetcher import Fetcher
from gateway.fetch.settings import FetchSettings, WebArchive
from gateway.fetch.web_archive import DicomWebArchive
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import StudyKey
from pdl1es.report.software import SOFTWARE
from tests.gateway.made_objects import made_object
from tests.gateway.peers.web_server import Asked, Said, web_server

STUDY, SERIES = "1.2.3", "1.2.3.1"
MULTIPART = 'multipart/related; type="application/dicom"; boundary=mark'


def archive(root: str, **limits: int) -> DicomWebArchive:
    """An archive at an address."""
    return DicomWebArchive(
        WebArchive.model_validate(
            {"name": "pacs", "kind": "dicomweb", "service": {"url": root, "response_seconds": 5}, "limits": limits}
        )
    )


def parts(*objects: bytes) -> Said:
    """An answer of WADO-RS."""
    body = b"".join(b"--mark\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in objects)
    return Said(200, body + b"--mark--", MULTIPART)


def fetched(said: Said, **limits: int) -> list[bytes]:
    """What comes of an answer."""
    taken: list[bytes] = []
    with web_server(lambda _: said) as server:
        archive(server.root, **limits).fetch_series(STUDY, SERIES, lambda file: taken.append(file.read()))
    return taken


def test_a_series_is_taken_byte_for_byte() -> None:
    objects = [made_object(f"1.2.3.1.{number}") for number in range(3)]
    assert fetched(parts(*objects)) == objects


def test_an_object_of_another_series_is_not_taken() -> None:
    with pytest.raises(PeerError) as caught:
        fetched(parts(made_object(), made_object(series="1.2.3.2")))
    assert caught.value.failure is PeerFailure.BAD_ANSWER


@pytest.mark.parametrize(
    "limits",
    [{"max_object_bytes": 1024}, {"max_objects_of_series": 2}, {"max_series_bytes": 5000}],
)
def test_more_than_the_limits_allow_is_not_taken(limits: dict[str, int]) -> None:
    with pytest.raises(PeerError) as caught:
        fetched(parts(*(made_object() for _ in range(3))), **limits)
    assert caught.value.failure is PeerFailure.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    "said", [Said(200, b"", MULTIPART), Said(204), Said(200, b"[]"), Said(206, b"x", MULTIPART), Said(500), Said(404)]
)
def test_an_answer_without_objects_is_a_failure(said: Said) -> None:
    with pytest.raises(PeerError):
        fetched(said)


def test_a_mutated_answer_gives_whole_objects_or_a_failure() -> None:
    """Seeded: bytes changed, cut out and doubled anywhere in the answer."""
    draw = random.Random(1)
    whole = parts(made_object("1.2.3.1.1"), made_object("1.2.3.1.2")).body
    assert isinstance(whole, bytes)
    answers: list[bytes] = []
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 20)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        answers.append(bytes(data))
    following = iter(answers)
    ends = {"whole": 0, "failed": 0}
    with web_server(lambda _: Said(200, next(following), MULTIPART)) as server:
        for _ in answers:
            try:
                archive(server.root).fetch_series(STUDY, SERIES, lambda _: None)
                ends["whole"] += 1
            except PeerError:
                ends["failed"] += 1
    assert ends["whole"] + ends["failed"] == 150
    assert ends["failed"] > 20


def answer(**changes: Any) -> dict[str, Any]:
    """One match of a query for series."""
    return {
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        "0020000E": {"vr": "UI", "Value": [SERIES]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00201209": {"vr": "IS", "Value": [99]},
        "00100020": {"vr": "LO", "Value": ["ID"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]},
    } | changes


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'"text"',
        b"[[]]",
        b"null",
        b'[{"0020000E": 5}]',
        b'[{"0020000E": {"vr": "UI", "Value": 5}}]',
        b'[{"0020000E": {"vr": "XX", "Value": ["1.2"]}}]',
        b'[{"hello": {"vr": "UI", "Value": ["1.2"]}}]',
        b'[{"00081140": {"vr": "SQ", "Value": [5]}}]',
        b'[{"00201209": {"vr": "IS", "Value": ["many"]}}]',
        b'[{"00201209": {"vr": "IS", "Value": [1e400]}}]',
        b'[{"00100010": {"vr": "PN", "Value": [7]}}]',
        b'[{"7FE00010": {"vr": "OW", "InlineBinary": "@@@"}}]',
        b"[" * 5000,
        b"\xff\xfe",
        json.dumps([answer()]).encode() * 2,
    ],
)
def test_an_answer_to_a_query_is_understood_or_a_failure(body: bytes) -> None:
    with web_server(lambda _: Said(200, body)) as server:
        peer = archive(server.root)
        for ask in (
            lambda: peer.series_of(STUDY),
            lambda: peer.series_holding(STUDY, "1.2.9"),
            lambda: peer.current_identity(STUDY),
        ):
            try:
                found = ask()
            except PeerError:
                continue
            assert not found or isinstance(found, tuple)


def test_mutated_answers_to_queries_are_understood_or_failures() -> None:
    draw = random.Random(2)
    whole = json.dumps([answer(), answer(**{"00201209": {"vr": "IS", "Value": ["7"]}})]).encode()
    answers: list[bytes] = []
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(0, 4)] = draw.randbytes(draw.randint(0, 2))
        answers.append(bytes(data))
    following = iter(answers)
    asked = 0
    with web_server(lambda _: Said(200, next(following))) as server:
        peer = archive(server.root)
        for number in range(len(answers)):
            with contextlib.suppress(PeerError):
                peer.series_of(STUDY) if number % 2 else peer.current_identity(STUDY)
            asked += 1
    assert asked == 300


def test_a_study_of_two_patients_has_no_identity() -> None:
    two = [answer(), answer(**{"00100020": {"vr": "LO", "Value": ["OTHER"]}})]
    with (
        web_server(lambda _: Said(200, json.dumps(two).encode())) as server,
        pytest.raises(PeerError, match="several times"),
    ):
        archive(server.root).current_identity(STUDY)


def test_an_archive_that_ignores_the_key_gives_no_other_patients_identity() -> None:
    other = [answer(**{"0020000D": {"vr": "UI", "Value": ["9.9"]}})]
    with web_server(lambda _: Said(200, json.dumps(other).encode())) as server:
        assert archive(server.root).current_identity(STUDY) is None


def test_earlier_reports_that_are_broken_are_a_failure_and_put_nowhere(
    store: ObjectStore, database: Engine, tmp_path: Path
) -> None:
    draw = random.Random(3)
    report = made_object(series=SERIES, Manufacturer=SOFTWARE.manufacturer, ManufacturerModelName=SOFTWARE.name)
    broken = []
    for _ in range(60):
        data = bytearray(report)
        for _ in range(5):
            data[draw.randrange(132, 700)] = draw.randrange(256)
        broken.append(bytes(data))
    following = iter(broken)
    series = json.dumps([answer(**{"00080060": {"vr": "CS", "Value": ["SR"]}, "00201209": {"vr": "IS", "Value": [1]}})])

    def say(asked: Asked) -> Said:
        return (
            Said(200, series.encode()) if asked.path.partition("?")[0].endswith("/series") else parts(next(following))
        )

    store.put(BytesIO(made_object()), ObjectOrigin("pacs", "dimse"))
    folder = tmp_path / "earlier"
    folder.mkdir()
    with web_server(say) as server:
        settings = {"archives": [{"name": "pacs", "kind": "dicomweb", "service": {"url": server.root}}]}
        fetcher = Fetcher(FetchSettings.model_validate(settings), database, store)
        kept = 0
        for _ in broken:
            try:
                kept += fetcher.earlier_reports(StudyKey(STUDY), folder)
            except PeerError:
                continue
    assert len(list(folder.iterdir())) == kept

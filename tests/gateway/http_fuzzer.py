"""Seeded mutations of what comes by HTTP: requests to the gateway's own addresses, and answers of a DICOMweb server and of an Orthanc.

A whole message is mutated: status line, headers, lengths, body. What is asked for ends as it should or in a coded failure; anything else
is a fault. ``python -m benchmarks.fuzz_http`` tries thousands.
"""

from __future__ import annotations

import json
import random
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import uvicorn
from sqlalchemy import Engine

import gateway.objects.tables  # noqa: F401 - its tables are among those that are made
from gateway.database import create_tables, open_database
from gateway.fetch.settings import WebArchive
from gateway.fetch.web_archive import DicomWebArchive
from gateway.health.pages import health_application
from gateway.health.readiness import Expected, Readiness
from gateway.objects.errors import StoreUnavailableError
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerError
from gateway.processes.web import web_server_config
from gateway.receive.orthanc import OrthancChanges
from gateway.receive.settings import OrthancSource
from gateway.records import StoredResult
from gateway.send.settings import WebDestination
from gateway.send.stow import StowDestination
from tests.gateway.made_objects import made_object
from tests.gateway.receive.conversations import mutated
from tests.gateway.send.dicom_results import stored_result
from tests.waiting import until

STUDY, SERIES = "1.2.3", "1.2.3.1"
SILENCE_S: Final = 0.5
PATIENCE_S: Final = 0.2
"""How long an answer to a request is waited for, which may be half a one."""
LONGEST_S: Final = 120.0
"""What one request may take, its silences included: an Orthanc is asked four times in one look."""
WARM: Final = 50
"""Cases after which memory is compared."""
Answer = Callable[[str], bytes]


@dataclass
class HttpFuzz:
    """What came of mutated messages.

    Attributes
    ----------
    ends
        How many of each kind ended how.
    faults
        Errors that nobody foresaw, and what took too long.
    grown_kib
        How much this process grew after the first fifty, KiB.
    """

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    grown_kib: int = 0


def response_message(body: bytes, kind: str = "application/dicom+json", status: str = "200 OK") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def mutated_message(message: bytes, chance: random.Random) -> bytes:
    """A message mutated in its head, in its body, or in both; its Content-Length right or not."""
    head, mark, body = message.partition(b"\r\n\r\n")
    where = chance.randrange(5)
    if where == 0:
        return mutated(message, chance)
    if where == 1:
        return mutated(head, chance) + mark + body
    if where >= 3 and body[:1] in (b"[", b"{"):
        changed = json.dumps(_mutated_json(json.loads(body), chance)).encode()
    else:
        changed = mutated(body or b"\n", chance)
    if where >= 2:
        head = head.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % len(changed))
    return head + mark + changed


NODES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1.5, 10**30, float("inf"), float("nan"), "", "1.2", "x" * 100_000, [], {}, [[]], [None], {"vr": "SQ"}, {"Value": 5},
)  # fmt: skip
"""What may stand in the place of a part of a JSON document."""


def _mutated_json(document: Any, chance: random.Random) -> Any:
    """A document of which one part is another thing, is missing, or is there twice."""
    if not isinstance(document, dict | list) or not document or chance.random() < 0.2:
        return chance.choice(NODES)
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = chance.choice(keys)
    what = chance.randrange(8)
    if what == 0:
        del document[key]
    elif what == 1 and isinstance(document, list):
        document.append(document[key])
    else:
        document[key] = _mutated_json(document[key], chance)
    return document


@contextmanager
def answering_server(answer: Answer) -> Iterator[str]:
    """Answer every request with bytes as they are, and close; yields the root of its addresses."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            try:
                asked = _asked(connection)
                connection.sendall(answer(asked))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                pass  # the client has heard enough

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _asked(connection: socket.socket) -> str:
    """Read a request to its end, and return its first line."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return ""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    missing = (lengths or [0])[0] - len(body)
    while missing > 0:
        missing -= len(connection.recv(65536)) or missing
    return head.split(b"\r\n")[0].decode("latin-1")


# --- answers --------------------------------------------------------------------------------------------------------


def _match(**changes: Any) -> dict[str, Any]:
    return {
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        "0020000E": {"vr": "UI", "Value": [SERIES]},
        "00080018": {"vr": "UI", "Value": ["1.2.3.1.1"]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00201209": {"vr": "IS", "Value": [99]},
        "00100020": {"vr": "LO", "Value": ["ID"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]},
    } | changes


def _query_answer() -> bytes:
    return response_message(json.dumps([_match(), _match(**{"00201209": {"vr": "IS", "Value": ["7"]}})]).encode())


def _series_answer() -> bytes:
    objects = (made_object("1.2.3.1.1"), made_object("1.2.3.1.2"))
    body = b"".join(b"--mark\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in objects)
    return response_message(body + b"--mark--", 'multipart/related; type="application/dicom"; boundary=mark')


def _stow_answer(result: StoredResult) -> bytes:
    stored = [{"00081155": {"vr": "UI", "Value": [file.sop_instance_uid]}} for file in result.files]
    failed = [stored[0] | {"00081197": {"vr": "US", "Value": [0x0111]}}]
    said = {"00081199": {"vr": "SQ", "Value": stored[1:]}, "00081198": {"vr": "SQ", "Value": failed}}
    return response_message(json.dumps(said).encode())


def _orthanc_answers(number: int) -> dict[str, bytes]:
    """What an Orthanc says, by the end of the address."""
    changes = {
        "Changes": [{"ChangeType": "NewInstance", "ID": "a1b2-c3d4", "Seq": 8}, {"ChangeType": "NewStudy", "ID": "e5"}],
        "Done": True,
        "Last": 8,
    }
    text = "text/plain"
    return {
        "?last": response_message(b'{"Changes": [], "Done": true, "Last": 7}', "application/json"),
        "/changes?since": response_message(json.dumps(changes).encode(), "application/json"),
        "/SopClassUid": response_message(b"1.2.840.10008.5.1.4.1.1.2", text),
        "/file": response_message(made_object(f"1.2.4.{number}"), "application/dicom"),
    }


def fuzz_answers(count: int, seed: int, folder: Path) -> HttpFuzz:
    """Ask a DICOMweb server and an Orthanc whose answers are mutated.

    Parameters
    ----------
    count
        How many.
    seed
        Of the mutations.
    folder
        An empty one.

    Returns
    -------
    HttpFuzz
    """
    found, chance, said = HttpFuzz(), random.Random(seed), [b""]
    engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
    create_tables(engine)
    (folder / "result").mkdir()
    result = stored_result(folder / "result", "cam", "sr")
    service = {"connect_seconds": 5, "response_seconds": SILENCE_S, "total_seconds": 5}
    texts: dict[str, bytes] = {}

    def answer(asked: str) -> bytes:
        if texts:
            return next((text for mark, text in texts.items() if mark in asked), response_message(b"", status="404 No"))
        if asked.startswith("GET") and said[0].startswith(b"P"):
            return response_message(b"[]")  # STOW-RS asks before it sends
        return said[0].removeprefix(b"P")

    with answering_server(answer) as root, ObjectStore(folder / "objects", engine) as store:
        url = {"url": f"{root}/dicom-web"} | service
        archive = DicomWebArchive(WebArchive.model_validate({"name": "pacs", "kind": "dicomweb", "service": url}))
        stow = StowDestination(WebDestination.model_validate({"name": "web", "kind": "stow", "service": url}))
        said[0] = b"P" + _stow_answer(result)
        patient = WebDestination.model_validate(
            {
                "name": "web",
                "kind": "stow",
                "service": url | {"response_seconds": LONGEST_S, "total_seconds": LONGEST_S},
            }
        )
        receipt = StowDestination(patient).deliver(result, 1)

        def orthanc(number: int) -> None:
            texts.update(_orthanc_answers(number))
            mark = chance.choice(list(texts))
            texts[mark] = mutated_message(texts[mark], chance)
            source = OrthancSource(name=f"o{number}", url=root, response_seconds=SILENCE_S, from_now=mark == "?last")
            try:
                OrthancChanges(source, store, InFlight(engine)).look()
            finally:
                texts.clear()

        asks: dict[str, tuple[Callable[[], bytes], Callable[[int], object]]] = {
            "QIDO-RS, series": (_query_answer, lambda _: archive.series_of(STUDY)),
            "QIDO-RS, object": (_query_answer, lambda _: archive.series_holding(STUDY, "1.2.3.1.1")),
            "QIDO-RS, patient": (_query_answer, lambda _: archive.current_identity(STUDY)),
            "QIDO-RS, confirmation": (_query_answer, lambda _: stow.confirm(receipt)),
            "WADO-RS": (_series_answer, lambda _: archive.fetch_series(STUDY, SERIES, lambda file: None)),
            "STOW-RS": (lambda: b"P" + _stow_answer(result), lambda number: stow.deliver(result, number)),
            "Orthanc": (lambda: b"", orthanc),
        }
        peak = 0
        for number in range(count):
            if number == WARM:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            name = list(asks)[number % len(asks)]
            make, ask = asks[name]
            message = make()
            prefix = b"P" if name == "STOW-RS" else b""
            said[0] = prefix + mutated_message(message.removeprefix(b"P"), chance) if message else b""
            _tried(found, name, lambda number=number, ask=ask: ask(number), f"case {number} of seed {seed}")  # type: ignore[misc]
        found.grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak if count > WARM else 0
        if any(store.missing_files()):
            found.faults.append("a stored object is damaged")
    engine.dispose()
    return found


def _tried(found: HttpFuzz, name: str, ask: Callable[[], object], case: str) -> None:
    started = time.monotonic()
    try:
        ask()
        end = "taken"
    except PeerError as error:
        end = error.failure.name
    except StoreUnavailableError:
        end = "STORE_UNAVAILABLE"
    except Exception as error:  # noqa: BLE001 - what nobody foresaw is what is looked for
        end = "FAULT"
        found.faults.append(f"{name}, {case}: {error!r}")
    found.ends[f"{name}: {end}"] += 1
    if time.monotonic() - started > LONGEST_S:
        found.faults.append(f"{name}, {case}: it took {time.monotonic() - started:.0f} s")


# --- requests -------------------------------------------------------------------------------------------------------


@contextmanager
def served_pages(engine: Engine, expected: Expected) -> Iterator[int]:
    """Serve the gateway's own addresses as the web process does; yields the port."""
    server = uvicorn.Server(web_server_config(health_application(Readiness(engine, expected)), "127.0.0.1", 0))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


REQUESTS: Final = (
    b"GET /health/live HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n",
    b"GET /health/ready HTTP/1.1\r\nHost: gateway\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: gateway\r\nContent-Length: 12\r\nConnection: close\r\n\r\n" + b"a" * 12,
    b"GET /nothing?a=b HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
)


def fuzz_requests(count: int, seed: int, folder: Path) -> HttpFuzz:
    """Ask the gateway's own addresses by mutated requests; it runs in this process.

    Parameters
    ----------
    count
        How many.
    seed
        Of the mutations.
    folder
        An empty one.

    Returns
    -------
    HttpFuzz
        An answer of 500 is a fault, and so is no answer to a whole request afterwards.
    """
    found, chance, peak = HttpFuzz(), random.Random(seed), 0
    engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
    create_tables(engine)
    with served_pages(engine, Expected(("executor",), folder, 0, ("pacs",))) as port:
        for number in range(count):
            if number == WARM:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            message = mutated_message(chance.choice(REQUESTS), chance)
            status = "closed without an answer"
            try:
                with socket.create_connection(("127.0.0.1", port), LONGEST_S) as connection:
                    connection.sendall(message)
                    connection.settimeout(PATIENCE_S)
                    if answer := connection.recv(65536):
                        status = answer.split(b"\r\n")[0].decode("latin-1")[:20]
            except TimeoutError:
                status = "more is waited for"
            except OSError:
                status = "connection reset"
            if status.startswith("HTTP/1.1 500"):
                found.faults.append(f"request {number} of seed {seed}: {status}")
            found.ends[status] += 1
        found.grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak if count > WARM else 0
        with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=LONGEST_S) as answer_after:
            if answer_after.status != 200:
                found.faults.append("it does not answer afterwards")
    engine.dispose()
    return found

"""Health: what stands in the way is told, ready again alone, and metrics name no study."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, update

from gateway.clock import utc_now
from gateway.database import create_tables, open_database
from gateway.health.heartbeat import PROCESSES, Heartbeat, read_processes
from gateway.health.metrics import metrics_text
from gateway.health.pages import health_application
from gateway.health.readiness import NOTICES, REMEDIES, SINCE, Expected, Readiness, obstacles
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.faults import PeerFaults
from gateway.send.delivery import DeliveryBook
from gateway.send.rules import Shipment
from gateway.workflow.runs import RunLedger
from tests.gateway.workflow.stand_ins import STUDY, some_run
from tests.waiting import until

NOW = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    yield engine
    engine.dispose()


@contextmanager
def served(engine: Engine, what: Expected) -> Iterator[str]:
    """Serve the addresses on a free port, as the web process does."""
    config = uvicorn.Config(health_application(Readiness(engine, what)), port=0, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def expected(folder: Path, reserve: int = 0) -> Expected:
    return Expected(("executor",), folder, reserve, ("pacs",), ("vna",))


def codes(engine: Engine, folder: Path, reserve: int = 0, clock: Callable[[], datetime] = utc_now) -> list[str]:
    """Return code and concern of what stands in the way."""
    return [one.key for one in obstacles(engine, expected(folder, reserve), clock)]


def test_a_process_is_missed_until_it_says_that_it_lives_and_after_it_has_ended(engine: Engine, tmp_path: Path) -> None:
    assert codes(engine, tmp_path) == ["PROCESS_NOT_RUNNING process executor"]
    with Heartbeat(engine, "executor", lambda: {"workers": {"idle": 1}}):
        assert codes(engine, tmp_path) == []
        (note,) = read_processes(engine)
        assert (note.pid, note.detail) == (os.getpid(), {"workers": {"idle": 1}})
    assert codes(engine, tmp_path) == ["PROCESS_NOT_RUNNING process executor"]


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_process_that_is_silent_is_told_also_after_the_clock_stepped_back(
    engine: Engine, tmp_path: Path, seconds: int
) -> None:
    with Heartbeat(engine, "executor"):
        (note,) = read_processes(engine)
        (found,) = obstacles(engine, expected(tmp_path), clock=lambda: note.beat_at + timedelta(seconds=seconds))
    assert (found.key, found.since) == ("PROCESS_SILENT process executor", note.beat_at)


def test_what_a_process_says_of_itself_stands_in_the_way(engine: Engine, tmp_path: Path) -> None:
    with Heartbeat(engine, "executor", lambda: {"problems": ["no worker can be started"]}):
        (found,) = obstacles(engine, expected(tmp_path))
    assert (found.key, found.found) == ("PROCESS_FAULT process executor", "no worker can be started")


def test_a_process_that_started_anew_has_another_start(engine: Engine) -> None:
    with Heartbeat(engine, "executor"):
        with engine.begin() as connection:  # the one before it was killed
            connection.execute(update(PROCESSES).values(pid=1, started_at=NOW))
        Heartbeat(engine, "executor").beat()
        (note,) = read_processes(engine)
    assert note.started_at > NOW


def test_a_full_disk_is_told(engine: Engine, tmp_path: Path) -> None:
    with Heartbeat(engine, "executor"):
        assert codes(engine, tmp_path, reserve=2**60) == ["DISK_NEARLY_FULL disk"]
        assert codes(engine, tmp_path / "none") == ["FOLDER_GONE disk"]


@pytest.mark.parametrize("peer", ["destination pacs", "archive vna"])
def test_a_peer_is_told_from_its_first_failure_until_it_works_with_its_own_reason(
    engine: Engine, tmp_path: Path, peer: str
) -> None:
    later = NOW + timedelta(minutes=5)
    rejected = PeerError(PeerFailure.ASSOCIATION_REJECTED, "10.0.0.1 port 104: called AE title not recognised")
    PeerFaults(engine, lambda: NOW).note(peer, PeerError(PeerFailure.UNREACHABLE, "10.0.0.1 port 104"))
    PeerFaults(engine, lambda: NOW).note("destination removed", rejected)
    faults = PeerFaults(engine, lambda: later)
    faults.note(peer, rejected)

    def found() -> list[str]:
        return [str(one) for one in obstacles(engine, expected(tmp_path), lambda: later) if one.of[:7] != "process"]

    (told,) = found()
    assert told.startswith(
        f"{peer}: ASSOCIATION_REJECTED: the peer rejected the association: 10.0.0.1 port 104: called AE"
    )
    assert ", since 2026-03-04T00:00:00+00:00. Enter the gateway's AE title" in told
    faults.note(peer, PeerError(PeerFailure.REFUSED, "one object"))  # a peer that refuses one object works
    assert found() == []
    with pytest.raises(PeerError), faults.noted(peer):
        raise rejected
    assert found()
    with faults.noted(peer):
        pass
    assert found() == []


def test_a_peers_fault_is_forgotten_when_nothing_is_asked_of_it_for_long(engine: Engine, tmp_path: Path) -> None:
    PeerFaults(engine, lambda: NOW).note("archive vna", PeerError(PeerFailure.UNREACHABLE, "10.0.0.1 port 104"))
    for minutes, there in ((29, 1), (31, 0), (-31, 0)):
        now = NOW + timedelta(minutes=minutes)
        told = codes(engine, tmp_path, clock=partial(datetime.fromtimestamp, now.timestamp(), UTC))
        assert told.count("UNREACHABLE archive vna") == there


def test_status_health_and_metrics_say_alike_since_when(engine: Engine, tmp_path: Path) -> None:
    PeerFaults(engine, lambda: NOW).note("destination pacs", PeerError(PeerFailure.UNREACHABLE, "10.0.0.1 port 104"))
    times = iter([NOW + timedelta(seconds=seconds) for seconds in range(0, 100, 5)])
    readiness = Readiness(engine, expected(tmp_path), lambda: next(times))
    first = {one.key: one.since for one in readiness.look()}
    assert {one.key: one.since for one in readiness.look()} == first
    told = {key: datetime.fromisoformat(at) for key, at in readiness.detail()[SINCE].items()}
    assert told == first
    found = {
        f"{sample.labels['code']} {sample.labels['of']}": datetime.fromtimestamp(sample.value, UTC)
        for family in text_string_to_metric_families(metrics_text(readiness).decode())
        for sample in family.samples
        if sample.name == "pdl1es_gateway_obstacle_since_timestamp_seconds"
    }
    assert found == first
    assert set(first) == {"PROCESS_NOT_RUNNING process executor", "UNREACHABLE destination pacs"}
    assert first["UNREACHABLE destination pacs"] == NOW


@pytest.mark.parametrize("code", REMEDIES)
def test_every_code_of_readiness_stands_in_the_gateways_page(repository: Path, code: str) -> None:
    assert f"`{code}`" in (repository / "docs" / "gateway.md").read_text(encoding="utf-8")


def test_a_database_that_does_not_answer_is_told_and_the_process_stays_alive(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.sqlite'}")
    with served(engine, expected(tmp_path)) as root:
        status, text = get(f"{root}/health/ready")
        assert status == 503
        (told,) = json.loads(text)["obstacles"]
        assert (told["code"], told["found"]) == ("DATABASE_DOWN", "it does not answer (OperationalError)")
        assert told["remedy"]
        again = json.loads(get(f"{root}/health/ready")[1])["obstacles"][0]
        assert again["since"] == told["since"], "since it was first seen"
        assert get(f"{root}/health/live")[0] == 200
        assert "pdl1es_gateway_ready 0.0" in get(f"{root}/metrics")[1]


def test_ready_with_what_a_person_should_know_and_its_metrics(engine: Engine, tmp_path: Path) -> None:
    ledger = RunLedger(engine)
    ledger.enter(some_run("d1"))
    ledger.enter(some_run("d2"))
    ledger.began("d2", 1)
    ledger.ended("d2", 1, "done", seconds=2.5)
    DeliveryBook(engine).begin("d2", STUDY.study_instance_uid, (Shipment("pacs", ("sr",)),), NOW)
    detail = {"workers": {"busy": 1, "idle": 2}, "worker_restarts": {"crash": 3}, NOTICES: ["room runs short"]}
    came = {"associations": 2, "association_outcomes": {"accepted": 7, "rejected": 1}}
    with (
        Heartbeat(engine, "executor", lambda: detail),
        Heartbeat(engine, "receiver-1", lambda: came),
        served(engine, expected(tmp_path)) as root,
    ):
        status, answer = get(f"{root}/health/ready")
        assert (status, json.loads(answer)) == (
            200,
            {"status": "ready", "obstacles": [], "notices": ["room runs short"]},
        )
        text = get(f"{root}/metrics")[1]
    found = {
        (sample.name.removeprefix("pdl1es_gateway_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["ready",] == 1
    assert (found["runs", "queued"], found["runs", "done"], found["runs", "parked"]) == (1, 1, 0)
    assert (found["run_seconds_sum",], found["run_seconds_count",]) == (2.5, 1)
    assert found["deliveries", "pacs", "waiting"] == 1
    assert found["destination_down", "pacs"] == 0
    assert (found["workers", "busy"], found["worker_restarts_total", "crash"]) == (1, 3)
    assert found["associations", "receiver-1"] == 2
    assert found["connections_total", "rejected", "receiver-1"] == 1
    assert found["process_up", "executor"] == 1
    assert found["disk_free_bytes",] > 0


def test_no_metric_names_a_study(engine: Engine, tmp_path: Path) -> None:
    RunLedger(engine).enter(some_run("d1"))
    text = metrics_text(Readiness(engine, expected(tmp_path))).decode()
    assert STUDY.study_instance_uid not in text
    assert "d1" not in text

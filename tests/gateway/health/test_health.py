"""Health: what stands in the way is told, ready again alone, and metrics name no study."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, update

from gateway.database import create_tables, open_database
from gateway.health.heartbeat import PROCESSES, Heartbeat, read_processes
from gateway.health.metrics import metrics_text
from gateway.health.pages import health_application
from gateway.health.readiness import Expected, obstacles
from gateway.send.breaker import Breaker
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
    config = uvicorn.Config(health_application(engine, what), port=0, log_config=None)
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
    return Expected(("executor",), folder, reserve, ("pacs",))


def test_a_process_is_missed_until_it_says_that_it_lives_and_after_it_has_ended(engine: Engine, tmp_path: Path) -> None:
    assert obstacles(engine, expected(tmp_path)) == ("process executor is not running",)
    with Heartbeat(engine, "executor", lambda: {"workers": {"idle": 1}}):
        assert obstacles(engine, expected(tmp_path)) == ()
        (note,) = read_processes(engine)
        assert (note.pid, note.detail) == (os.getpid(), {"workers": {"idle": 1}})
    assert obstacles(engine, expected(tmp_path)) == ("process executor is not running",)


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_process_that_is_silent_is_told_also_after_the_clock_stepped_back(
    engine: Engine, tmp_path: Path, seconds: int
) -> None:
    with Heartbeat(engine, "executor"):
        (note,) = read_processes(engine)
        found = obstacles(engine, expected(tmp_path), clock=lambda: note.beat_at + timedelta(seconds=seconds))
    assert found == ("process executor has said nothing for a while",)


def test_what_a_process_says_of_itself_stands_in_the_way(engine: Engine, tmp_path: Path) -> None:
    with Heartbeat(engine, "executor", lambda: {"problems": ["no worker can be started"]}):
        assert obstacles(engine, expected(tmp_path)) == ("no worker can be started",)


def test_a_process_that_started_anew_has_another_start(engine: Engine) -> None:
    with Heartbeat(engine, "executor"):
        with engine.begin() as connection:  # the one before it was killed
            connection.execute(update(PROCESSES).values(pid=1, started_at=NOW))
        Heartbeat(engine, "executor").beat()
        (note,) = read_processes(engine)
    assert note.started_at > NOW


def test_a_destination_that_is_down_and_a_full_disk_are_told(engine: Engine, tmp_path: Path) -> None:
    DeliveryBook(engine).set_breaker("pacs", Breaker(5, NOW))
    DeliveryBook(engine).set_breaker("removed", Breaker(5, NOW))
    with Heartbeat(engine, "executor"):
        assert obstacles(engine, expected(tmp_path)) == ("destination pacs is down: 5 failures in a row",)
        DeliveryBook(engine).set_breaker("pacs", Breaker())
        assert obstacles(engine, expected(tmp_path)) == ()
        (full,) = obstacles(engine, expected(tmp_path, reserve=2**60))
    assert full.startswith("the disk is nearly full")


def test_a_database_that_does_not_answer_is_told_and_the_process_stays_alive(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.sqlite'}")
    with served(engine, expected(tmp_path)) as root:
        status, text = get(f"{root}/health/ready")
        assert status == 503
        assert json.loads(text)["obstacles"] == ["the database does not answer (OperationalError)"]
        assert get(f"{root}/health/live")[0] == 200
        assert "pdl1es_gateway_ready 0.0" in get(f"{root}/metrics")[1]


def test_ready_and_its_metrics(engine: Engine, tmp_path: Path) -> None:
    ledger = RunLedger(engine)
    ledger.enter(some_run("d1"))
    ledger.enter(some_run("d2"))
    ledger.began("d2", 1)
    ledger.ended("d2", 1, "done", seconds=2.5)
    DeliveryBook(engine).begin("d2", STUDY.study_instance_uid, (Shipment("pacs", ("sr",)),), NOW)
    detail = {"workers": {"busy": 1, "idle": 2}, "worker_restarts": {"crash": 3}}
    came = {"associations": 2, "association_outcomes": {"accepted": 7, "rejected": 1}}
    with (
        Heartbeat(engine, "executor", lambda: detail),
        Heartbeat(engine, "receiver-1", lambda: came),
        served(engine, expected(tmp_path)) as root,
    ):
        status, answer = get(f"{root}/health/ready")
        assert (status, json.loads(answer)) == (200, {"status": "ready", "obstacles": []})
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
    text = metrics_text(engine, expected(tmp_path)).decode()
    assert STUDY.study_instance_uid not in text
    assert "d1" not in text

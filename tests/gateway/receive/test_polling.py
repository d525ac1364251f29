"""A polling source goes on after failures, says the last one, and ends when it is told to."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.health.readiness import Expected, Obstacle, obstacles
from gateway.objects.errors import StoreUnavailableError
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.faults import PeerFaults
from gateway.receive.polling import PollingSource


@pytest.mark.parametrize(
    "failure",
    [
        PeerError(PeerFailure.UNREACHABLE, "pacs"),
        StoreUnavailableError("the disk is full"),
        OSError(5, "Input/output error"),
    ],
)
def test_a_failure_is_told_and_the_next_look_takes_up_again(failure: Exception) -> None:
    told: list[str] = []
    done = threading.Event()

    def look() -> bool:
        told.append(source.last_error)
        if len(told) == 1:
            raise failure
        if len(told) == 3:
            done.set()
        return False

    source = PollingSource("orthanc", look, poll_seconds=0.01)
    with source:
        assert done.wait(30)
    assert told[0] == ""
    assert told[1] in str(failure)
    assert told[1]
    assert source.last_error == ""


def test_a_defect_is_told_once_with_its_place_and_does_not_end_the_source(caplog: pytest.LogCaptureFixture) -> None:
    looks: list[str] = []
    done = threading.Event()

    def look() -> bool:
        looks.append(source.last_error)
        if len(looks) < 4:
            raise KeyError("a value of the patient's")
        done.set()
        return False

    source = PollingSource("orthanc", look, poll_seconds=0.001)
    with source:
        assert done.wait(30)
    assert looks[1:4] == ["a defect (KeyError)"] * 3  # a further look may come before it is stopped
    (record,) = [one for one in caplog.records if one.name == "pdl1es.gateway.receive"]
    assert record.exc_info is not None
    assert source.last_error == ""


def test_what_is_waiting_is_taken_without_a_pause() -> None:
    left = [True] * 50
    done = threading.Event()

    def look() -> bool:
        if left:
            return left.pop()
        done.set()
        return False

    with PollingSource("orthanc", look, poll_seconds=3600):
        assert done.wait(30)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (PeerError(PeerFailure.UNREACHABLE, "10.0.0.1"), "UNREACHABLE"),
        (PeerError(PeerFailure.BAD_ANSWER, "no page of changes"), "BAD_ANSWER"),
        (OSError(13, "Permission denied"), "SOURCE_NOT_READABLE"),
        (KeyError("a value of the patient's"), "DEFECT"),
    ],
)
def test_a_source_that_fails_keeps_the_gateway_from_being_ready_until_it_works(
    database: Engine, tmp_path: Path, failure: Exception, code: str
) -> None:
    looks: list[list[Obstacle]] = []
    done = threading.Event()

    def look() -> bool:
        found = obstacles(database, Expected((), tmp_path, 0, (), sources=("orthanc",)))
        looks.append([one for one in found if one.of == "source orthanc"])
        if len(looks) < 3:
            raise failure
        if len(looks) == 4:
            done.set()
        return False

    with PollingSource("orthanc", look, poll_seconds=0.001, faults=PeerFaults(database)):
        assert done.wait(30)
    assert looks[0] == []
    (told,), (still,) = looks[1:3]
    assert (told.code, told.since) == (code, still.since)
    assert told.since is not None
    assert told.remedy
    assert "patient's" not in str(told)
    assert looks[3] == [], "it recovered alone"

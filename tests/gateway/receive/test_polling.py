"""A polling source goes on after failures, says the last one, and ends when it is told to."""

from __future__ import annotations

import threading

import pytest

from gateway.objects.errors import StoreUnavailableError
from gateway.peers.failures import PeerError, PeerFailure
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

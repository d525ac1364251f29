"""Why a command does not fit the state that a study is in, and what does."""

from __future__ import annotations

from typing import Final

from gateway.steer.overview import NOT_RUN_AGAIN, REMOVED, StudyOverview

_GONE: Final = "its objects were removed: have it sent again, and it is run"
_DONE: Final = "its run has ended with a result; `resend` sends it again"
_OF_STATE: Final = {
    "arriving": "the study is still arriving, and no run of it was asked for yet: what it waits for, `show` says",
    "queued": "its run waits in the queue already; `retry --stat` is for parked ones, `park` takes it out",
    "running": "a worker scores it: wait until the run has ended",
    "waits for its next try": "its run is tried again by itself; `retry` has it tried now",
    "parked": "its run is parked already; `retry` runs it",
    "purged": _GONE,
    "defect": "the study cannot be judged because of a defect, which `show` says; it is tried again by itself",
}


def why_no_retry(one: StudyOverview) -> str:
    """Return why no run of a study can be retried.

    Parameters
    ----------
    one
        A study whose last run is not parked, and waits for no next try.

    Returns
    -------
    str
    """
    if any(run.state == "parked" for run in one.runs):
        return "a later run has overtaken the parked one"
    return _why(one, f"no run of this study is parked: {_DONE}")


def why_no_park(one: StudyOverview) -> str:
    """Return why no run of a study can be parked.

    Parameters
    ----------
    one
        A study none of whose runs waits.

    Returns
    -------
    str
    """
    return _why(one, f"no run of this study waits: {_DONE}")


def _why(one: StudyOverview, done: str) -> str:
    if one.results and one.state in REMOVED:
        return f"its result was removed ({one.state}). {NOT_RUN_AGAIN}"
    return _OF_STATE.get(one.state, done)


def why_no_purge() -> str:
    """Return why a study that is gone cannot be removed."""
    return "nothing of this study is here any more; its objects and results were removed before"


def what_purge_ends(one: StudyOverview) -> str:
    """Return what is not done yet with a study that is to be removed.

    Parameters
    ----------
    one
        A study that is not delivered.

    Returns
    -------
    str
    """
    alone = ", so that its result is here alone" if one.state == "stored" else ""
    return f"it is not delivered (state: {one.state}{alone}); --yes removes it all the same, and ends what is still to be done with it"

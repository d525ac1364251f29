"""Every command in every state of a study: it does what it says, or refuses with a reason and changes nothing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from gateway.clock import utc_now
from gateway.database import METADATA
from gateway.logs import StudyHash, read_log_key
from gateway.processes.executor import LOCK_FILE
from gateway.steer.overview import Overview
from gateway.workflow.runs import ACTIVE
from tests.gateway.steer.steered import Steered
from tests.gateway.steer.study_states import STATES, bring_into, opened_objects, settle
from tests.gateway.workflow.stand_ins import STUDY

COMMANDS: Final = ("retry", "park", "resend", "purge", "purge --yes")
DOES: Final = {
    "arriving": ("purge --yes",),
    "queued": ("park", "purge --yes"),
    "running": (),
    "again": ("retry", "park", "purge --yes"),
    "parked": ("retry", "purge --yes"),
    "overtaken": ("resend", "purge --yes"),
    "stale": ("purge --yes",),
    "stored": ("purge --yes",),
    "withheld": ("purge --yes",),
    "waiting": ("resend", "purge --yes"),
    "sent": ("resend", "purge --yes"),
    "committed": ("resend", "purge", "purge --yes"),
    "dead": ("resend", "purge --yes"),
    "purged": (),
    "purged before its result": (),
    "removed by retention": (),
    "removed, never sent": (),
    "removed by retention and sent again": ("purge", "purge --yes"),
}
"""What each command does in each state; it refuses everything else."""


@contextmanager
def executor_runs(steered: Steered) -> Iterator[None]:
    """The executor's lock is held, as while a gateway runs."""
    descriptor = os.open(steered.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def everything(steered: Steered) -> dict[str, Any]:
    """All that is known and kept."""
    with steered.engine.connect() as connection:
        rows: dict[str, Any] = {
            name: sorted(map(str, connection.execute(table.select()))) for name, table in METADATA.tables.items()
        }
    kept = (steered.folder / name for name in ("objects/studies", "results"))
    rows["files"] = sorted(str(file) for folder in kept for file in folder.rglob("*"))
    return rows


def state_of(steered: Steered) -> str:
    return Overview(steered.engine, steered.results.folder, StudyHash(read_log_key(steered.folder))).study(STUDY).state


def quiet(steered: Steered) -> None:
    """Let the sender's association be long over."""
    with steered.engine.begin() as connection:
        connection.execute(METADATA.tables["in_flight"].delete())


@pytest.mark.parametrize("state", STATES)
def test_a_command_does_what_it_says_or_refuses_and_changes_nothing(steered: Steered, state: str) -> None:
    bring_into(steered, state)
    quiet(steered)
    before = everything(steered)
    with executor_runs(steered):
        for command in COMMANDS:
            if command not in DOES[state]:
                done = steered.run(*command.split(), STUDY.study_instance_uid)
                assert (done.exit_code, bool(done.stderr.strip())) == (2, True), (command, done.output)
                assert everything(steered) == before, command


@pytest.mark.parametrize(("state", "command"), [(state, command) for state, does in DOES.items() for command in does])
def test_what_a_command_does_leaves_nothing_stuck_and_sends_nothing_twice(
    steered: Steered, state: str, command: str
) -> None:
    bring_into(steered, state)
    quiet(steered)
    with executor_runs(steered):
        done = steered.run(*command.split(), STUDY.study_instance_uid)
    assert done.exit_code == 0, done.output
    if command == "park":
        assert state_of(steered) == "parked"
        assert steered.ledger.in_states(*ACTIVE) == ()
    elif command == "retry":
        (run,) = steered.ledger.in_states(*ACTIVE)
        assert (run.state, run.attempts) == ("queued", 0)
    elif command == "resend":
        assert state_of(steered) == "waiting"
        settle(steered)
        assert state_of(steered) == "committed"
        assert len(list((steered.folder.parent / "out").iterdir())) == 1
    else:
        known = {
            "arriving": "arriving",
            "committed": "removed after delivery",
            "overtaken": "removed after delivery",
            "removed by retention and sent again": "removed after delivery",
        }  # the first: nothing is known
        assert state_of(steered) == known.get(state, "purged")
        assert steered.ledger.in_states(*ACTIVE, "parked") == ()
        assert steered.book.due(utc_now()) == ()
        assert everything(steered)["files"] == []
        with opened_objects(steered) as objects:
            assert objects.objects_of(STUDY) == ()
        assert steered.run("purge", "--yes", STUDY.study_instance_uid).exit_code == 2, "once"


@pytest.mark.parametrize(
    ("state", "word", "by"),
    [
        ("removed by retention", "removed after delivery", "by the retention rules"),
        ("removed, never sent", "removed, never sent", "by the retention rules"),
        ("purged", "purged", "by a person"),
    ],
)
def test_a_study_whose_result_was_removed_is_listed_and_says_how_it_went(
    steered: Steered, state: str, word: str, by: str
) -> None:
    bring_into(steered, state)
    quiet(steered)
    (row,) = steered.run("studies").stdout.splitlines()[1:]
    assert word in row
    assert f"files removed {by}" in steered.run("show", STUDY.study_instance_uid).stdout


def test_a_study_that_comes_again_after_its_result_was_removed_says_that_it_is_not_run_again(steered: Steered) -> None:
    bring_into(steered, "removed by retention and sent again")
    quiet(steered)
    shown = steered.run("show", STUDY.study_instance_uid).stdout
    assert "1 object, 0 kept aside; state: removed after delivery" in shown
    assert "came again since. The same input gives no second report" in shown
    assert "is not run again" in steered.run("retry", STUDY.study_instance_uid).stderr.replace("\n", " ")


def test_every_state_has_its_row(steered: Steered) -> None:
    assert DOES.keys() == STATES.keys()
    bring_into(steered, "running")
    quiet(steered)
    assert steered.run("purge", "--yes", STUDY.study_instance_uid).exit_code == 0, "no executor runs: nobody scores it"
    assert state_of(steered) == "purged"


def test_nothing_is_removed_while_objects_of_the_study_are_coming(steered: Steered) -> None:
    bring_into(steered, "dead")
    with opened_objects(steered) as objects, steered.engine.begin() as connection:
        row = {"holder": "receiver-1 7", "study_instance_uid": STUDY.study_instance_uid, "at": utc_now()}
        connection.execute(METADATA.tables["in_flight"].insert().values(row))
        connection.commit()
        done = steered.run("purge", "--yes", STUDY.study_instance_uid)
        assert done.exit_code == 2
        assert "coming in" in done.stderr
        assert objects.objects_of(STUDY)

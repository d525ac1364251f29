"""Whatever a page tells a researcher to type, the command line understands."""

from __future__ import annotations

from pathlib import Path

import pytest
from documented_commands import commands, misunderstood

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/train-on-your-cohort.md"])
def test_every_command_of_the_page_is_one(page: str) -> None:
    found = commands((REPOSITORY / page).read_text(encoding="utf-8"))
    assert found
    assert [fault for command in found if (fault := misunderstood(command))] == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (["train", "A", "B", "--wild", "3"], "--wild"),
        (["train", "A", "B", "C"], "too much"),
        (["cohort", "guess"], "no command 'guess'"),
        (["evaluate", "A", "B", "--run"], "--run"),
    ],
)
def test_a_command_that_there_is_not_is_found_out(command: list[str], fault: str) -> None:
    assert fault in (misunderstood(command) or "")

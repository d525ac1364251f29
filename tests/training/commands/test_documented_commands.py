"""Whatever a page tells a researcher to type, the command line understands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from tests.training.documented_commands import commands, misunderstood
from training.cohort.truth import TruthSettings
from training.commands.cli import app
from training.train.config import TrainingConfig, read_configuration

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["README.md", "docs/train-on-your-cohort.md"])
def test_every_command_of_the_page_is_one(page: str) -> None:
    found = commands((REPOSITORY / page).read_text(encoding="utf-8"))
    assert found
    assert [fault for command in found if (fault := misunderstood(command))] == []


def test_the_configuration_that_the_page_shows_is_one(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "train-on-your-cohort.md").read_text(encoding="utf-8")
    shown = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    assert shown
    for number, document in enumerate(shown):
        path = tmp_path / f"{number}.json"
        path.write_text(document)
        assert read_configuration(path) != TrainingConfig()


def test_every_option_of_the_training_is_explained() -> None:
    text = (REPOSITORY / "docs" / "train-on-your-cohort.md").read_text(encoding="utf-8")
    command = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]  # it is a group
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    assert [option for option in options if f"`{option}" not in text] == []
    assert [
        field for field in TrainingConfig.model_fields if f"`{field}`" not in text and f"--{field}" not in text
    ] == []


def test_the_truth_that_a_synthetic_cohort_has_by_default_is_the_one_that_the_help_names() -> None:
    cohort = typer.main.get_command(app).commands["cohort"]  # type: ignore[attr-defined]  # both are groups
    said = {parameter.name: parameter.help for parameter in cohort.commands["synthesise"].params}
    assert TruthSettings().shares == (1 / 3, 1 / 3, 1 / 3)
    assert "Default: a third each." in said["shares"]
    assert f"Default: {TruthSettings().logit_sd:.2f} " in said["logit_sd"]


def test_links_within_the_page_lead_to_its_sections() -> None:
    text = (REPOSITORY / "docs" / "train-on-your-cohort.md").read_text(encoding="utf-8")
    sections = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    links = set(re.findall(r"\(#([^)]+)\)", text))
    assert links
    assert links <= sections


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

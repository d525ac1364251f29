"""The documented list of warnings is the code's own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.plausibility.rules import PlausibilityRules

PLACE_OF_CODE = {"ScoreWarning": 0, "_Breach": 1, "_Doubt": 0}
"""Calls that make a warning, and which of their arguments is its code; the protocol's breaches and the doubts about plausibility become warnings."""
MADE_OF_BREACHES = ("breach.code", "doubt.code")

ALWAYS_WITHHELD = {"SEG_END_UNKNOWN", "SEG_OFF_SOURCE"}
"""A part of the tumour may be missing, or all of it in the wrong place, and no setting makes that harmless."""


def calls(repository: Path) -> Iterator[tuple[str, ast.expr]]:
    """Every call in the sources that makes a warning: where it stands, and its code as it is written."""
    for package in ("pdl1es", "operators", "app"):
        for path in sorted((repository / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLACE_OF_CODE:
                    where = f"{path.relative_to(repository)}:{node.lineno}"
                    yield where, node.args[PLACE_OF_CODE[node.func.id]]


def rows(repository: Path) -> dict[str, list[str]]:
    """The documented table: code to its other cells."""
    text = (repository / "docs" / "warnings.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return {row[0].strip("`"): row[1:] for row in cells[1:]}


def test_every_warning_is_made_with_a_code_that_can_be_read_in_the_source(repository: Path) -> None:
    """Otherwise the list could not be held complete."""
    others = [
        f"{where}: {ast.unparse(code)}"
        for where, code in calls(repository)
        if not (isinstance(code, ast.Constant) and isinstance(code.value, str))
        and ast.unparse(code) not in MADE_OF_BREACHES
    ]
    assert others == []


def test_the_documented_list_is_complete_and_has_nothing_else(repository: Path) -> None:
    made = {code.value for _, code in calls(repository) if isinstance(code, ast.Constant)}
    assert len(made) >= 15
    assert set(rows(repository)) == made


def test_every_warning_has_a_meaning_a_remedy_and_an_effect(repository: Path) -> None:
    for code, cells in rows(repository).items():
        assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)
        assert len(cells) == 4, code
        assert all(cells), code


def test_the_documented_effects_are_the_default_settings(repository: Path) -> None:
    """A row of the protocol reads ``rule``: effect."""
    defaults = {
        name: info.default
        for rules in (ProtocolRules, PlausibilityRules)
        for name, info in rules.model_fields.items()
        if info.default in ("warn", "withhold_group", "refuse")
    }
    documented = {}
    for code, (_found_by, _meaning, _remedy, effect) in rows(repository).items():
        if ": " in effect:
            rule, _, action = effect.partition(": ")
            documented[rule.strip("`")] = action
        else:
            assert effect == ("withhold_group" if code in ALWAYS_WITHHELD else "warn"), code
    assert documented == defaults

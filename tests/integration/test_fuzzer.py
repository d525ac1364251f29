"""Mutated studies with SEG or RTSTRUCT, clinical files, settings and models: refused, told, or scored as the whole study is."""

from __future__ import annotations

from pathlib import Path

from tests.fuzzer import fuzz

COUNT = 300
"""What fits into a minute of processor time; `python -m benchmarks.fuzz` tries thousands."""


def test_a_mutation_is_refused_with_a_code_or_changes_nothing_unsaid(tmp_path: Path) -> None:
    assert [outcome for outcome in fuzz(COUNT, 7, tmp_path) if outcome.is_fault] == []

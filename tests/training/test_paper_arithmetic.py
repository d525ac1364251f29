"""The paper's printed numbers, recomputed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.paper_arithmetic import (
    AGES,
    AREAS,
    COUNTS,
    HAZARD_RATIOS,
    age_p_range,
    c_index_p,
    fewest_events,
    hanley_mcneil_interval,
    largest_c_index,
    p_after_search,
    tables,
    wald_p,
)


def test_every_sum_is_the_total_printed() -> None:
    assert all(is_ == printed for _, is_, printed in COUNTS)


def test_printed_p_of_age_lies_within_what_rounding_leaves() -> None:
    for row in AGES:
        p = age_p_range(row)
        assert p.lower <= row.p_value <= p.upper


def test_cox_intervals_imply_other_p_values_than_are_printed() -> None:
    signature, clinical, _ = HAZARD_RATIOS
    assert round(wald_p(signature), 3) == 0.013 != signature.p_value
    assert round(wald_p(clinical), 3) == 0.036 != clinical.p_value


def test_validation_and_test_intervals_are_reproduced_within_two_hundredths() -> None:
    for row in AREAS:
        if row.name in ("validation", "test"):
            implied = hanley_mcneil_interval(row)
            assert implied.lower == pytest.approx(row.area.lower, abs=0.021)
            assert implied.upper == pytest.approx(row.area.upper, abs=0.021)


def test_training_interval_is_that_of_patches_rather_than_of_patients() -> None:
    patients, patches = (hanley_mcneil_interval(row) for row in AREAS[:2])
    assert [round(x, 2) for x in (patients.lower, patients.upper)] == [0.74, 0.82]
    assert [round(x, 2) for x in (patches.lower, patches.upper)] == [0.76, 0.80]


def test_the_search_for_a_cut_off_costs_the_signature_its_significance() -> None:
    assert round(p_after_search(0.010), 2) == 0.16
    assert p_after_search(0.001) < 0.05


def test_the_c_index_interval_holds_one_half_and_its_value_is_too_large_for_two_groups() -> None:
    assert c_index_p() > 0.05
    assert largest_c_index(2.57) < 0.66
    assert largest_c_index(1.0) == 0.5


def test_the_widths_of_the_intervals_need_38_events() -> None:
    assert max(fewest_events(row) for row in HAZARD_RATIOS) == 38


def test_the_page_holds_the_tables_that_the_script_prints(repository: Path) -> None:
    page = (repository / "docs" / "paper-read-critically.md").read_text(encoding="utf-8")
    printed = subprocess.run(
        [sys.executable, "-m", "training.paper_arithmetic"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    assert printed == tables() + "\n"
    for table in tables().split("\n\n"):
        assert table in page

"""One report for each digest of everything that went in."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.workflow.digest import clinical_digest, input_digest, settings_digest
from pdl1es.clinical import ClinicalRecord
from pdl1es.settings import Settings, read_settings

PARTS = {"objects": "o", "clinical": "c", "model": "m", "settings": "s", "software": "1.0"}


@pytest.mark.parametrize("changed", PARTS)
def test_a_change_of_any_part_gives_another_digest(changed: str) -> None:
    assert input_digest(**PARTS) == input_digest(**PARTS)
    assert input_digest(**{**PARTS, changed: "other"}) != input_digest(**PARTS)


def test_parts_that_exchange_their_places_give_another_digest() -> None:
    assert input_digest(**{**PARTS, "objects": "c", "clinical": "o"}) != input_digest(**PARTS)


@pytest.mark.parametrize(
    "sections",
    [
        {"outputs": ["sr", "pdf", "json"]},
        {"report": {"series_number": 7}},
        {"selection": {"segment": {"number": 2}}},
        {"protocol": {"smooth_kernel": "refuse"}},
        {"report_refusals": True},
    ],
)
def test_a_setting_that_can_change_a_report_changes_the_digest(sections: dict[str, Any]) -> None:
    assert settings_digest(read_settings(sections)) != settings_digest(Settings())


@pytest.mark.parametrize(
    "sections", [{"log": {"level": "DEBUG"}}, {"report": {"file_mode": "0600"}}, {"resources": {"cpu": 8}}]
)
def test_a_setting_that_changes_no_byte_of_a_report_changes_nothing(sections: dict[str, Any]) -> None:
    assert settings_digest(read_settings(sections)) == settings_digest(Settings())


def test_no_table_no_row_an_empty_row_and_a_row_are_four_inputs() -> None:
    found = {
        clinical_digest(None, table=False),
        clinical_digest(None, table=True),
        clinical_digest(None, table=True, ambiguous=True),
        clinical_digest(ClinicalRecord(), table=True),
        clinical_digest(ClinicalRecord(age=61), table=True),
    }
    assert len(found) == 5
    assert clinical_digest(ClinicalRecord.model_validate({"sex": "F"}), table=True) == clinical_digest(
        ClinicalRecord(sex="female"), table=True
    )

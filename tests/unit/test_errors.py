"""What a user is promised of refusals."""

from __future__ import annotations

import pickle
from pathlib import Path

from pdl1es.errors import Refusal, RefusalCode, refusal_table


def test_the_documented_table_is_the_codes_own(repository: Path) -> None:
    assert refusal_table() in (repository / "docs" / "refusals.md").read_text(encoding="utf-8")


def test_a_refusal_names_code_finding_tag_value_uid_and_remedy() -> None:
    refusal = Refusal(
        RefusalCode.NOT_HU, "the image has no rescale slope", tag="RescaleSlope (0028,1053)", value=None, uid="1.2.3"
    )
    assert str(refusal) == (
        "NOT_HU: the image has no rescale slope; RescaleSlope (0028,1053) = absent; UID 1.2.3. Remedy: send the original "
        "CT images: MONOCHROME2, in Hounsfield units, with Rescale Slope and Rescale Intercept."
    )


def test_every_code_says_what_is_wrong_and_what_to_do() -> None:
    rows = [code.row for code in RefusalCode]
    assert all(row.meaning and row.remedy and row.stage for row in rows)
    assert len({row.meaning for row in rows}) == len(rows)


def test_a_refusal_passes_between_processes_as_it_is() -> None:
    refusal = Refusal(RefusalCode.NOT_HU, "no slope", tag="RescaleSlope (0028,1053)", value="7", uid="1.2.3")
    again = pickle.loads(pickle.dumps(refusal))
    assert (again.code, again.found, again.tag, again.value, again.uid) == (
        refusal.code,
        refusal.found,
        refusal.tag,
        refusal.value,
        refusal.uid,
    )
    assert str(again) == str(refusal)

"""UIDs: the same thing has the same one, two things never do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdl1es.report.kinds import REPORT_KINDS
from pdl1es.report.uids import content_uid, derived_uid, series_uid, tracking
from tests.report_cases import ROOT, Case, metadata, report_case, with_segment


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_uids_are_equal_exactly_where_their_parts_are(first: list[str], second: list[str]) -> None:
    assert (derived_uid("x", *first) == derived_uid("x", *second)) == (first == second)


@given(st.lists(st.text(), max_size=4))
def test_every_uid_is_valid_dicom(parts: list[str]) -> None:
    uid = derived_uid("x", *parts)
    assert uid.is_valid
    assert uid.startswith("2.25.")


def test_series_and_tracking_uid_are_the_same_in_every_run(case: Case) -> None:
    """These are the values that the first release writes: a change would orphan every report in an archive."""
    assert series_uid(case.assessment, "sr") == "2.25.103305236279705866132799450896014112999"
    assert tracking(case.assessment)[1] == "2.25.288867626797237565192805805970760451055"


def test_another_model_version_or_segment_has_another_series_and_tracking_uid(case: Case) -> None:
    others = [report_case(model=metadata(version="0.3.2")).assessment, with_segment(case.assessment, number=2)]
    for other in others:
        assert series_uid(other, "sr") != series_uid(case.assessment, "sr")
        assert tracking(other)[1] != tracking(case.assessment)[1]


def test_each_kind_of_report_has_a_series_of_its_own(case: Case) -> None:
    assert len({series_uid(case.assessment, kind) for kind in REPORT_KINDS}) == len(REPORT_KINDS)


def test_a_segment_that_names_its_lesion_keeps_that_name(case: Case) -> None:
    tracked = with_segment(case.assessment, tracking_id="Lesion 7", tracking_uid=f"{ROOT}.7")
    assert tracking(tracked) == ("Lesion 7", f"{ROOT}.7")


@pytest.mark.parametrize(
    "identifier",
    ["Cornerstone3DTools@^0.1.0:Length", "cornerstoneTools@^4.0.0:FreehandRoi", " dcmjs:Polygon", "tool@1:x"],
)
def test_a_viewers_own_tracking_identifier_is_never_passed_on(case: Case, identifier: str) -> None:
    """OHIF would replace the score by a measurement of its own."""
    tracked = with_segment(case.assessment, tracking_id=identifier, tracking_uid=f"{ROOT}.7")
    assert tracking(tracked) == ("PD-L1ES tumour, segment 1", f"{ROOT}.7")


@pytest.mark.parametrize("uid", ["", "  ", "not a uid", "1.2.3.04", "1" * 65])
def test_an_invalid_tracking_uid_is_replaced(case: Case, uid: str) -> None:
    assert tracking(with_segment(case.assessment, tracking_uid=uid))[1] == tracking(case.assessment)[1]


def test_content_that_differs_in_one_bit_has_another_uid() -> None:
    assert content_uid(b"\x00\x01") != content_uid(b"\x00\x00")

"""Instance Numbers: a repeated report comes after the earlier ones of its series."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.report.build import build_cam, build_pdf, build_refusal_sr, build_sr, draw_roi, with_key_objects
from pdl1es.report.instance_number import next_instance_number
from pdl1es.report.kinds import REPORT_KINDS
from pdl1es.report.options import ReportOptions
from tests.report_cases import WHEN, Case, as_read, metadata, report_case


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


def study_of(case: Case, *reports: Dataset) -> Study:
    headers = [as_read(dataset) for dataset in (*case.ct, case.segmentation, *reports)]
    return Study(Path("study"), tuple(Instance(Path(f"{number}.dcm"), header) for number, header in enumerate(headers)))


def reports_of(case: Case, study: Study, minutes: int) -> dict[str, Dataset]:
    """A report of each kind, in the light of what the study holds."""
    options = ReportOptions(WHEN + timedelta(minutes=minutes))
    pictures = draw_roi(case.assessment)
    refused = build_refusal_sr(Refusal(RefusalCode.NO_SEG, "none"), study, options)
    assert refused is not None
    return {
        "sr": build_sr(case.assessment, options, study=study).dataset,
        "cam": build_cam(case.assessment, options, pictures, study=study).dataset,
        "pdf": build_pdf(case.assessment, options, pictures, study=study).dataset,
        "refused": refused.dataset,
    }


def numbers(reports: dict[str, Dataset]) -> set[int]:
    return {int(report.InstanceNumber) for report in reports.values()}


def test_reports_of_every_kind_count_up_over_repeats(case: Case) -> None:
    first = reports_of(case, study_of(case), 0)
    second = reports_of(case, study_of(case, *first.values()), 5)
    third = reports_of(case, study_of(case, *second.values(), *first.values()), 10)
    assert [numbers(reports) for reports in (first, second, third)] == [{1}, {2}, {3}]
    for kind, report in third.items():
        assert report.SeriesInstanceUID == first[kind].SeriesInstanceUID


def test_pictures_and_pages_count_up_where_only_the_earlier_structured_report_is_there(case: Case) -> None:
    """As the gateway, and whoever names reports with ``--earlier``, hand them in."""
    first = build_sr(case.assessment, ReportOptions(WHEN), study=study_of(case)).dataset
    (report,) = study_of(case, first).instances[-1:]
    held, named = study_of(case, first), study_of(case)
    for study, earlier in ((held, ()), (named, (report,))):
        options = ReportOptions(WHEN + timedelta(minutes=5), earlier=earlier)
        pictures = draw_roi(case.assessment)
        built = (
            build_sr(case.assessment, options, study=study),
            build_cam(case.assessment, options, pictures, study=study),
            build_pdf(case.assessment, options, pictures, study=study),
        )
        objects = with_key_objects(case.assessment, options, built, study=study)
        assert {one.kind: int(one.dataset.InstanceNumber) for one in objects} == dict.fromkeys(REPORT_KINDS, 2)


def test_another_models_reports_are_in_another_series_and_begin_anew(case: Case) -> None:
    first = reports_of(case, study_of(case), 0)
    del first["refused"]
    other = reports_of(report_case(model=metadata(version="0.4.0")), study_of(case, *first.values()), 5)
    assert numbers(other) == {1}


@pytest.mark.parametrize(
    ("stated", "following"), [("7", 8), ("", 1), ("0", 1), ("-4", 1), ("2147483646", 2147483647), ("2147483647", 1)]
)
def test_what_an_input_states_never_makes_a_number_that_dicom_cannot_hold(
    case: Case, stated: str, following: int
) -> None:
    header = Dataset()
    header.SeriesInstanceUID, header.InstanceNumber = "1.2.3", stated
    study = Study(Path("study"), (Instance(Path("a.dcm"), header),))
    assert next_instance_number(study, "1.2.3") == following
    assert next_instance_number(study, "1.2.4") == next_instance_number(None, "1.2.3") == 1

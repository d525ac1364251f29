"""The library as a researcher uses it: five lines, a notebook, and what is said when a study cannot be scored."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import numpy as np
import pydicom
import pytest
from pydantic import BaseModel

import pdl1es
from pdl1es import Refusal, StudyResult, chain, extract_features, inspect_study, load_model, read_tumour, score_study
from pdl1es.clinical import ClinicalFileError
from pdl1es.settings_file import SettingsError
from tests.integration.chain_runs import WHEN, Score

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


@pytest.fixture(scope="module")
def result(phantom_study: PhantomStudy) -> StudyResult:
    return score_study(phantom_study.folder, when=WHEN)


def test_the_documented_lines_do_what_they_say(phantom_study: PhantomStudy, repository: Path, tmp_path: Path) -> None:
    """Run docs/library.md's first block in a folder that holds a study."""
    (tmp_path / "study").symlink_to(phantom_study.folder)
    text = (repository / "docs" / "library.md").read_text(encoding="utf-8")
    (lines, *_) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in lines.splitlines() if line.strip()]) <= 5
    done = subprocess.run(
        [sys.executable, "-c", lines],
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.match(r"0\.\d+ Groups\(expression='(not )?high expression', risk='(low|high) risk'", done.stdout)
    assert done.stderr == ""
    kinds = sorted(pydicom.dcmread(path).Modality for path in (tmp_path / "report").iterdir())
    assert kinds == ["DOC", "SR"]


def test_the_example_notebook_runs_and_shows_score_picture_and_refusal(repository: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(repository / "docs" / "examples" / "score_a_study.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are made by whoever runs it"
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    (shown,) = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert "DEMONSTRATION MODEL" in shown
    assert "data:image/png;base64," in shown
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert "NO_SEG" in printed
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert len(list((tmp_path / "report").iterdir())) == 3


def test_its_reports_have_the_bytes_of_the_command_line(
    result: StudyResult, phantom_study: PhantomStudy, score: Score, tmp_path: Path
) -> None:
    run = score(phantom_study.folder, outputs=("sr", "cam", "pdf", "json"), contour_stability="on")
    written = result.save(tmp_path, kinds=["sr", "cam", "pdf", "json"])
    assert [path.name for path in written] == [
        *(report["file"] for report in run.result["reports"]),
        "result.json",
    ]
    for path in written[:-1]:
        assert path.read_bytes() == (run.folder / path.name).read_bytes()
    mine, theirs = result.document.model_dump(mode="json"), run.result
    assert mine | {"seconds": {}, "reports": []} == theirs | {"seconds": {}, "reports": []}
    assert list(mine["seconds"]) == list(theirs["seconds"])[: len(mine["seconds"])]


def test_score_groups_and_warnings_are_those_of_result_json(result: StudyResult) -> None:
    document = result.document.assessment
    assert document is not None
    assert result.score == document.score
    assert (result.groups.expression, result.groups.risk) == (
        document.groups.expression.group,
        document.groups.risk.group,
    )
    assert [warning.code for warning in result.warnings] == [warning.code for warning in result.document.warnings]


@pytest.mark.parametrize("kinds", [["sr"], ["json"], ["pdf", "sr"], None])
def test_only_the_kinds_that_are_asked_for_are_written(
    result: StudyResult, tmp_path: Path, kinds: list[Any] | None
) -> None:
    written = result.save(tmp_path / "report", kinds=kinds)
    assert sorted(written) == sorted((tmp_path / "report").iterdir())
    assert len(written) == len(kinds or ["sr", "json"])


def test_an_unknown_kind_of_report_is_named(result: StudyResult, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sr, cam, pdf, kos, fhir, json, not docx"):
        result.save(tmp_path, kinds=["sr", "docx"])  # type: ignore[list-item]  # the fault under test
    with pytest.raises(ValueError, match="list"):
        result.save(tmp_path, kinds="sr")  # type: ignore[arg-type]  # the fault under test
    assert list(tmp_path.iterdir()) == []


def test_reports_that_cannot_all_be_written_are_withdrawn(result: StudyResult, tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(Refusal) as caught:
        result.save(tmp_path, kinds=["sr", "json"])
    assert caught.value.code is pdl1es.RefusalCode.OUTPUT_NOT_WRITABLE
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_study_that_cannot_be_scored_raises_what_inspection_says(phantom_study: PhantomStudy) -> None:
    folder = phantom_study.folder / "CT"
    inspection = inspect_study(folder)
    assert inspection.selection is None
    assert inspection.refusal is not None
    for call in (score_study, read_tumour):
        with pytest.raises(Refusal) as caught:
            call(folder)
        assert str(caught.value) == str(inspection.refusal)
        assert caught.value.remedy


def test_inspection_says_what_is_scored_and_why(phantom_study: PhantomStudy, result: StudyResult) -> None:
    inspection = inspect_study(phantom_study.folder)
    assert inspection.refusal is None
    (series,) = [candidate for candidate in inspection.series if candidate.chosen]
    (segment,) = [candidate for candidate in inspection.segments if candidate.chosen]
    assert series.series_instance_uid == result.assessment.selection.ct.series_instance_uid
    assert segment.number == result.assessment.selection.segment.number
    assert series.reasons
    assert segment.reason


def test_settings_and_clinical_data_are_given_as_files_or_as_mappings(
    phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    model = load_model()
    (tmp_path / "app.yaml").write_text("protocol: {thick_slices: refuse, maximum_slice_thickness_mm: 1}")
    for settings in (tmp_path / "app.yaml", {"protocol": {"thick_slices": "refuse", "maximum_slice_thickness_mm": 1}}):
        with pytest.raises(Refusal, match="PROTOCOL"):
            score_study(phantom_study.folder, model=model, settings=settings)
    (tmp_path / "clinical.json").write_text('{"age": 81}', encoding="utf-8")
    given: Any
    for given in (tmp_path / "clinical.json", {"age": 81}):
        age = score_study(phantom_study.folder, model=model, clinical=given).assessment.clinical.age
        assert (age.value, age.source) == (81, "clinical file")
    with pytest.raises(SettingsError, match=r"protocol\.thick_slices = 'perhaps'"):
        score_study(phantom_study.folder, settings={"protocol": {"thick_slices": "perhaps"}})
    with pytest.raises(ClinicalFileError, match="age") as caught:
        score_study(phantom_study.folder, model=model, clinical={"age": 912})
    assert "912" not in str(caught.value)


def test_other_contours_are_scored_unless_they_are_not_wanted(phantom_study: PhantomStudy, result: StudyResult) -> None:
    varied = result.assessment.contour_stability
    assert varied is not None
    assert varied.lowest <= result.score <= varied.highest
    for off in (False, "off"):
        plain = score_study(phantom_study.folder, contour_stability=off)
        assert plain.assessment.contour_stability is None
        assert plain.score == result.score
    with pytest.raises(SettingsError, match="contour_stability = 'sometimes'"):
        score_study(phantom_study.folder, contour_stability="sometimes")  # type: ignore[arg-type]  # the fault under test


def test_features_have_their_names(phantom_study: PhantomStudy) -> None:
    tumour = read_tumour(phantom_study.folder)
    features = extract_features(tumour)
    assert len(features) == 1316
    # The volume is that of a mesh around the mask: some per cent of the voxels' own.
    voxels = int(np.count_nonzero(tumour.volume.mask))
    assert features["original_shape_VoxelVolume"] == voxels
    assert float(features["original_shape_MeshVolume"]) == pytest.approx(voxels, rel=0.05)
    assert np.array_equal(
        np.asarray(features.values), np.asarray(extract_features(tumour.volume).values), equal_nan=True
    )


def test_a_notebook_shows_a_result_without_the_patient(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    secrets = {"PatientName": "Zebrafink^Quendolin", "PatientID": "QX-77-SECRET", "StudyDate": "20190317"}
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    for path in (tmp_path / "study").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword, value in secrets.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    result = score_study(tmp_path / "study")
    shown = result._repr_html_() + repr(result) + repr(result.study) + repr(result.assessment)
    assert [value for value in ("Zebrafink", "QX-77", "20190317", "2019-03-17") if value in shown] == []


def parts(value: Any, depth: int = 0) -> list[Any]:
    """Return a dataclass or pydantic model and those in it."""
    found = [value]
    if depth < 5:
        names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
        names += type(value).model_fields if isinstance(value, BaseModel) else []
        for inside in (getattr(value, name) for name in names):
            for part in inside if isinstance(inside, tuple) else (inside,):
                if dataclasses.is_dataclass(part) or isinstance(part, BaseModel):
                    found += parts(part, depth + 1)
    return found


def test_what_is_printed_of_an_object_is_short(phantom_study: PhantomStudy, result: StudyResult) -> None:
    """No object prints its arrays, headers or lists of names, so that a notebook's line stays a line."""
    tumour, model = read_tumour(phantom_study.folder), load_model()
    whole = [result, inspect_study(phantom_study.folder), tumour, extract_features(tumour), phantom_study]
    whole += [result.groups, result.document, result.request.settings, model, model.metadata]
    selection = result.assessment.selection
    whole += [chain.read_mask(selection), chain.resample(selection, result.request.settings.plausibility)]
    seen: dict[str, int] = {}
    for part in (part for one in whole for part in parts(one)):
        if not type(part).__module__.startswith("pandas"):
            # sections of settings and of the result hold sentences
            length = len(repr(part)) - (1400 if isinstance(part, BaseModel) else 0)
            seen[type(part).__name__] = max(length, seen.get(type(part).__name__, 0))
    assert {"StudyResult", "Study", "Selection", "CTSeries", "ModelMetadata", "Settings", "PhantomStudy"} <= set(seen)
    assert {name: length for name, length in seen.items() if length > 600} == {}


def test_the_public_names_are_imported_when_they_are_used() -> None:
    program = (
        "import sys, pdl1es\n"
        "assert set(pdl1es.__all__) <= set(dir(pdl1es))\n"
        "print(sorted({'numpy', 'pydicom', 'onnxruntime', 'pydantic', 'rich'} & set(sys.modules)))\n"
        "for name in pdl1es.__all__:\n"
        "    getattr(pdl1es, name)\n"
        "try:\n"
        "    pdl1es.no_such_name\n"
        "except AttributeError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "module 'pdl1es' has no attribute 'no_such_name'"]

"""Plain Python (`pdl1es run`) and the operators of MONAI Deploy (`python app`) are one chain: the same bytes, the same end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.run import run_operators
from pdl1es.chain import STEPS
from pdl1es.clinical import ClinicalFileError
from pdl1es.outcome import Outcome
from pdl1es.run import Execute, run_in_python, run_study
from pdl1es.settings import Settings
from tests.integration.chain_runs import WHEN, models_loaded_once

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

TwoWays = Callable[..., tuple[Outcome, Outcome, Path, Path]]


@pytest.fixture(autouse=True)
def _one_model() -> Iterator[None]:
    with models_loaded_once():
        yield


@pytest.fixture
def two_ways(settings: Settings, repository: Path, tmp_path: Path) -> TwoWays:
    """Run a study in plain Python and through the operators; return both outcomes and both folders."""

    def run(
        study: Path, *, clinical: Path | None = None, model: Path | None = None, **sections: Any
    ) -> tuple[Outcome, Outcome, Path, Path]:
        folders = tmp_path / "plain", tmp_path / "operators"
        ways: tuple[Execute, Execute] = (run_in_python, run_operators)
        plain, through_operators = (
            run_study(
                study,
                folder,
                settings=settings.model_copy(update=sections),
                model_folder=model or repository / "models",
                clinical_file=clinical,
                when=WHEN,
                execute=execute,
            )
            for execute, folder in zip(ways, folders, strict=True)
        )
        return plain, through_operators, *folders

    return run


def files_of(folder: Path) -> dict[str, bytes | dict[str, Any]]:
    """Return a folder's files by name; result.json without its times."""
    found: dict[str, bytes | dict[str, Any]] = {path.name: path.read_bytes() for path in folder.iterdir()}
    found["result.json"] = {
        name: value for name, value in json.loads((folder / "result.json").read_text()).items() if name != "seconds"
    }
    return found


ALL = ("sr", "cam", "pdf", "json")


def test_the_phantom_gives_the_same_bytes_of_every_object(phantom_study: PhantomStudy, two_ways: TwoWays) -> None:
    plain, through_operators, one, other = two_ways(phantom_study.folder, outputs=ALL, contour_stability="on")
    assert plain.exit_code == through_operators.exit_code == 0
    assert len(files_of(one)) == 4
    assert files_of(one) == files_of(other)


def test_the_real_case_gives_the_same_bytes_of_every_object(shared_data: Path, two_ways: TwoWays) -> None:
    plain, through_operators, one, other = two_ways(shared_data / "ct_4dlung113", outputs=ALL)
    assert plain.exit_code == through_operators.exit_code == 0
    assert len(files_of(one)) == 4
    assert files_of(one) == files_of(other)


def test_every_step_is_an_operator_and_is_timed_under_its_name(phantom_study: PhantomStudy, two_ways: TwoWays) -> None:
    plain, through_operators, _, _ = two_ways(phantom_study.folder, outputs=ALL)
    assert plain.result is not None
    assert through_operators.result is not None
    before_delivery = STEPS[:-1]
    assert tuple(plain.result.seconds) == ("model_loading", *before_delivery)
    assert set(through_operators.result.seconds) == {"model_loading", *before_delivery}


@pytest.mark.parametrize("report_refusals", [False, True])
@pytest.mark.parametrize("fault", ["no segmentation", "clinical.json is wrong", "no study"])
def test_a_refusal_is_the_same_and_says_what_the_input_held(
    phantom_study: PhantomStudy, two_ways: TwoWays, tmp_path: Path, fault: str, report_refusals: bool
) -> None:
    study = tmp_path / "study"
    study.mkdir()
    if fault != "no study":
        shutil.copytree(phantom_study.folder, study, dirs_exist_ok=True)
    if fault == "no segmentation":
        shutil.rmtree(study / "SEG")
    if fault == "clinical.json is wrong":
        (study / "clinical.json").write_text('{"age": 900}', encoding="utf-8")
    plain, through_operators, one, other = two_ways(study, report_refusals=report_refusals)
    assert plain.refusal is not None
    assert plain.exit_code == through_operators.exit_code
    assert str(plain.refusal) == str(through_operators.refusal)
    assert files_of(one) == files_of(other)
    assert plain.result is not None
    assert plain.result.input is not None


def test_of_two_faults_both_tell_the_one_of_the_earlier_step(
    phantom_study: PhantomStudy, two_ways: TwoWays, tmp_path: Path
) -> None:
    """Operators without a common input run in any order: the pixels' fault comes before the clinical data's."""
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    (tmp_path / "study" / "clinical.json").write_text('{"age": 900}', encoding="utf-8")
    for path in (tmp_path / "study" / "CT").iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    plain, through_operators, one, other = two_ways(tmp_path / "study")
    for outcome in (plain, through_operators):
        assert outcome.refusal is not None
        assert outcome.refusal.code.name == "PIXEL_DATA_CORRUPT"
    assert files_of(one) == files_of(other)


def test_a_model_that_is_unfit_is_refused_by_both(
    phantom_study: PhantomStudy, two_ways: TwoWays, tmp_path: Path
) -> None:
    plain, through_operators, one, other = two_ways(phantom_study.folder, model=tmp_path)
    assert plain.refusal is not None
    assert plain.refusal.code.name == "MODEL_UNFIT"
    assert through_operators.exit_code == 3
    assert files_of(one) == files_of(other)


@pytest.mark.parametrize("execute", [run_in_python, run_operators])
def test_a_clinical_file_that_breaks_its_schema_is_an_error_of_usage(
    phantom_study: PhantomStudy, settings: Settings, repository: Path, tmp_path: Path, execute: Execute
) -> None:
    (tmp_path / "wrong.json").write_text('{"age": 900}', encoding="utf-8")
    with pytest.raises(ClinicalFileError, match="age"):
        run_study(
            phantom_study.folder,
            tmp_path / "out",
            settings=settings,
            model_folder=repository / "models",
            clinical_file=tmp_path / "wrong.json",
            execute=execute,
        )
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("step", ["extract_radiomics", "assess"])
def test_a_defect_ends_both_with_its_kind_and_what_the_input_held(
    phantom_study: PhantomStudy, two_ways: TwoWays, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a value of the header")

    monkeypatch.setattr(f"pdl1es.chain.{step}", fail)
    plain, through_operators, one, other = two_ways(phantom_study.folder)
    assert plain.exit_code == through_operators.exit_code == 1
    assert plain.result is not None
    assert plain.result.defect is not None
    assert plain.result.defect.kind == "ZeroDivisionError"
    assert plain.result.input is not None
    assert files_of(one) == files_of(other)

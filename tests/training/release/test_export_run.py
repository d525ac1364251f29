"""What is exported is what was trained, and says what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pdl1es.atomic import write_atomically
from pdl1es.clinical import VARIABLES
from pdl1es.model.folder import METADATA_FILE
from pdl1es.model.fusion import FusionModel
from pdl1es.model.metadata import CutOff
from tests.training.finished_runs import Run
from training.known_truth.gates import Gate
from training.release.calibration_claim import TestedCalibration
from training.release.cut_offs import CoxPart, ModelCutOffs, write_cut_offs
from training.release.export_run import CARD_FILE, Released, release
from training.release.performance import Performance, Statement
from training.scoring.cohort_scores import score_cohort
from training.train.run_folder import NETWORKS, TrainingError

CUT = CutOff(value=0.42, method="X-tile on the immunotherapy cohort", above="low risk", below="high risk")


@pytest.fixture(scope="module")
def model(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Released]:
    """The run's signature, exported without a prognosis."""
    folder = tmp_path_factory.mktemp("model")
    return folder, release(run.folder, folder)


def test_onnxruntime_gives_what_torch_gives_on_a_hundred_random_cases(model: tuple[Path, Released]) -> None:
    assert model[1].cases == 100
    assert model[1].difference <= 1e-5


def test_without_prognosis_the_placeholder_says_that_it_is_one(model: tuple[Path, Released]) -> None:
    folder, released = model
    assert len(released.placeholders) == 3
    metadata = FusionModel.load(folder).metadata
    assert metadata.training_data == "patients"
    assert metadata.expression_cut_off.method == "Youden on validation"
    assert "placeholder" in metadata.progression_cut_off.method
    assert metadata.clinical_cut_off is None
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    assert "is a placeholder" in card
    assert "contrary to common sense" in card
    assert "DEMONSTRATION" not in card
    assert "Sensitivity, specificity, predictive values, calibration and survival are **not stated**" in card
    assert not metadata.calibrated
    assert "its calibration was not measured: it was exported without cut_offs.json." in metadata.limitations[1]


@pytest.mark.parametrize(("slope", "holds"), [((0.9, 0.7, 1.1), True), ((0.6, 0.4, 0.8), False)])
def test_file_card_and_limits_agree_on_whether_the_score_is_a_probability(
    run: Run, tmp_path: Path, slope: tuple[float, float, float], holds: bool
) -> None:
    tested = TestedCalibration(synthetic=False, events=120, non_events=230, intercept=(0.1, -0.2, 0.4), slope=slope)
    write_cut_offs(tmp_path / "cut_offs.json", run.own(calibration=tested))
    release(run.folder, tmp_path / "model", cut_offs_file=tmp_path / "cut_offs.json", cases=2)
    metadata = FusionModel.load(tmp_path / "model").metadata
    figures = "on 120 test patients with high expression and 230 without the calibration intercept is 0.10"
    assert metadata.calibrated == holds
    assert any(figures in limit for limit in metadata.limitations) != holds
    card = (tmp_path / "model" / CARD_FILE).read_text(encoding="utf-8")
    called = "a probability. Calibration was tested" if holds else "a score. The score is no probability"
    assert f"| Score is called | {called}: {figures}" in card


def test_cut_offs_and_cox_models_of_the_prognosis_enter_the_file(run: Run, tmp_path: Path) -> None:
    cut_offs = run.own(
        expression=CUT,
        progression=CUT,
        clinical=CoxPart(names=VARIABLES, coefficients=(0.02, 0.3, -0.1, 0.5), means=(60, 0.8, 0.9, 0.1), cut_off=CUT),
        fusion=CoxPart(names=("PD-L1ES", "clinical_risk"), coefficients=(2, 0.7), means=(0.4, 0.1), cut_off=CUT),
    )
    write_cut_offs(tmp_path / "cut_offs.json", cut_offs)
    assert release(run.folder, tmp_path / "model", cut_offs_file=tmp_path / "cut_offs.json").placeholders == ()
    metadata = FusionModel.load(tmp_path / "model").metadata
    assert metadata.progression_cut_off == metadata.fusion_cut_off == CUT
    scored = score_cohort(tmp_path / "model", run.cohort.subset(np.arange(100, 120)))
    imputed = scored[[f"imputed_{name}" for name in VARIABLES]].to_numpy()
    clinical = (imputed - [60, 0.8, 0.9, 0.1]) @ [0.02, 0.3, -0.1, 0.5]
    assert scored["clinical_risk"].to_numpy() == pytest.approx(clinical, abs=1e-9)
    fusion = 2 * (scored["probability"] - 0.4) + 0.7 * (clinical - 0.1)
    assert scored["fusion_risk"].to_numpy() == pytest.approx(fusion.to_numpy(), abs=1e-9)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (ModelCutOffs(progression=CUT, model="0" * 64), "cut the scores of model 000000000000"),
        (ModelCutOffs(progression=CUT), "do not say whose scores they cut"),
    ],
    ids=["of another run", "of an earlier version"],
)
def test_cut_offs_of_other_scores_enter_no_model(run: Run, tmp_path: Path, given: ModelCutOffs, said: str) -> None:
    write_cut_offs(tmp_path / "cut_offs.json", given)
    with pytest.raises(TrainingError, match=f"{said}.*make them with `pdl1es prognosis PREPARED REPORT --run RUN`"):
        release(run.folder, tmp_path / "model", cut_offs_file=tmp_path / "cut_offs.json", cases=2)
    assert not (tmp_path / "model").exists()


def test_numbers_and_claims_of_the_analyses_stand_in_card_and_metadata(run: Run, tmp_path: Path) -> None:
    performance = Performance(
        statements=(
            Statement(what="sensitivity", value=0.75, limits=(0.5, 0.9), patients=13, events=5, cohort="Test"),
            Statement(what="log-rank test", kind="P", value=0.0123, patients=10, events=7, cohort="Immunotherapy"),
            Statement(what="Brier score", value=None, patients=13, events=5, cohort="Test", reason="one class only"),
        ),
        gates=(Gate("above DLM", "0.02", True), Gate("above CM", "-0.10", False), Gate("above RM", "none", None)),
    )
    write_cut_offs(tmp_path / "cut_offs.json", run.own(performance=performance))
    release(run.folder, tmp_path / "model", cut_offs_file=tmp_path / "cut_offs.json", cases=2)
    card = (tmp_path / "model" / CARD_FILE).read_text(encoding="utf-8")
    assert "| Test | sensitivity | 0.75 (0.50 to 0.90) | 13 (5) |\n" in card
    assert "| Immunotherapy | log-rank test | P = 0.012 | 10 (7) |\n" in card
    assert "| Test | Brier score | not estimable: one class only | 13 (5) |\n" in card
    assert "**This claim does not hold: above CM.** Not tested: above RM." in card
    assert "| above CM | -0.10 | **no** |\n" in card
    document = json.loads((tmp_path / "model" / METADATA_FILE).read_text(encoding="utf-8"))
    assert Performance.model_validate(document["pdl1es"]["performance"]) == performance
    limits = FusionModel.load(tmp_path / "model").metadata.limitations
    assert not [limit for limit in limits if "claim" in limit], "claims on the known truth are for the card"


def test_a_model_of_phantoms_says_so_wherever_it_is_read(run: Run, tmp_path: Path) -> None:
    record = json.loads((run.folder / "run.json").read_text())
    for path in run.folder.rglob("*"):
        if path.is_file():
            write_atomically(tmp_path / "run" / path.relative_to(run.folder), path.read_bytes())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "training_data": "synthetic"}))
    # even where a file of cut-offs of patients is given by mistake
    right = TestedCalibration(synthetic=False, events=500, non_events=500, intercept=(0, -1, 1), slope=(1, 0, 2))
    write_cut_offs(tmp_path / "cut_offs.json", run.own(calibration=right))
    release(
        tmp_path / "run",
        tmp_path / "model",
        cut_offs_file=tmp_path / "cut_offs.json",
        cohort="Phantoms of seed 0.",
        cases=2,
    )
    sentence = "Trained on synthetic phantoms: a demonstration, not for any decision on a patient"
    metadata = FusionModel.load(tmp_path / "model").metadata
    assert metadata.training_data == "synthetic"
    assert not metadata.calibrated
    assert sentence in metadata.intended_use
    assert "110 synthetic phantoms (87 / 10 / 13 training / validation / test" in metadata.trained_on
    assert "Phantoms of seed 0." in metadata.trained_on
    card = (tmp_path / "model" / CARD_FILE).read_text(encoding="utf-8")
    assert sentence in card
    assert "DEMONSTRATION MODEL - NOT FOR CLINICAL USE" in card
    document = json.loads((tmp_path / "model" / METADATA_FILE).read_text(encoding="utf-8"))
    assert document["description"].startswith("DEMONSTRATION MODEL")


def test_the_card_says_how_many_epochs_each_network_had_and_how_to_train_again(
    model: tuple[Path, Released],
) -> None:
    folder, _ = model
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    for name in ("PD-L1ES", "DLM", "RM", "CM", "PD-L1ES, re-division 1"):
        assert f"| {name} | 3 of 3 |" in card
    assert "2 at 0.003, 1 at 0.0003" in card
    assert "| model | training (n = 87) | validation (n = 10) | test (n = 13) | immunotherapy (n = 9) |" in card
    assert "pdl1es train PREPARED RUN --config config.json --precision 32-true\n" in card
    document = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    # the fields that a MONAI bundle's metadata must have
    for field in ("version", "changelog", "monai_version", "pytorch_version", "numpy_version", "task", "description"):
        assert document[field]
    for field in ("authors", "copyright", "network_data_format", "intended_use", "data_source", "eval_metrics"):
        assert document[field]
    assert document["pdl1es"]["training"]["networks"]["CM"]["epochs"] == 3


def test_the_model_names_no_path_and_no_case(run: Run, model: tuple[Path, Released]) -> None:
    for path in model[0].iterdir():
        content = path.read_bytes()
        assert str(run.folder).encode() not in content
        assert b"case-00" not in content


def test_a_case_that_the_model_refuses_has_its_code_and_no_score(run: Run) -> None:
    some = run.cohort.subset(np.arange(4))
    radiomics = some.radiomics.copy()
    radiomics[2] = np.nan
    told: list[tuple[int, int]] = []
    scored = score_cohort(
        run.folder / NETWORKS / "PD-L1ES",
        replace(some, radiomics=radiomics),
        name="PD-L1ES",
        progress=lambda done, count: told.append((done, count)),
    )
    assert scored["refusal"].tolist() == [None, None, "RADIOMICS_INCOMPLETE", None]
    assert np.isnan(scored["logit"][2])
    assert np.isfinite(scored["logit"][[0, 1, 3]]).all()
    assert told[-1] == (4, 4)

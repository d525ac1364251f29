"""A reproduction goes from nothing to model and report, does nothing twice, and leaves nothing that is out of date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

import training.reproduce
from pdl1es.atomic import write_atomically
from pdl1es.clinical import VARIABLES
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.model.fusion import FusionModel
from training.cohort.prepared import CASES_FILE, PreparedCohort, case_table, write_prepared_cohort
from training.cohort.synthesise import SynthesisSettings
from training.cohort.truth import FACTORS, TruthSettings, true_model
from training.export import model_digest
from training.pretrain.config import PretrainingConfig
from training.release.cut_offs import read_cut_offs
from training.reproduce import Reproduction, ReproductionError, ReproductionStep, source_digest
from training.reproduction_settings import ReproductionSettings
from training.train.config import Hardware, TrainingConfig

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true", workers=0, threads=1)
SETTINGS = ReproductionSettings(
    SynthesisSettings(expression=60, prognosis=24, gate=16),
    TrainingConfig.model_validate(
        {
            "stages": [{"learning_rate": 1e-2, "epochs": 1}],
            "models": ["PD-L1ES", "CM"],
            "redivisions": 0,
            "layers": "small",
            "augmentation": "off",
        }
    ),
    permutations=20,
    retested=3,
    control_splits=("test",),
)
STEPS = ("synthesise", "prepare", "train", "disturb", "scan again", "evaluate and prognosis", "export", "report")


# --- The bookkeeping: what each step does is stood in for ---


class Stopped(Exception):
    """Stands for a power cut."""


class StoodIn(Reproduction):
    """Its steps write what they are told to, and are remembered."""

    def __init__(self, folder: Path, fails: str = "", content: dict[str, bytes] | None = None) -> None:
        self.did: list[str] = []
        self.fails, self.content = fails, content or {}
        super().__init__(folder, SETTINGS)

    def steps(self) -> tuple[ReproductionStep, ...]:
        return tuple(replace(step, work=partial(self.stand_in, step)) for step in super().steps())

    def stand_in(self, step: ReproductionStep) -> None:
        self.did.append(step.name)
        for name in step.outputs:
            write_atomically(self.folder / step.place / name, self.content.get(step.name, b"as ever"))
            if step.name == self.fails:
                raise Stopped


def done(folder: Path, **options: Any) -> list[str]:
    """Run it, and return the steps that were done."""
    reproduction = StoodIn(folder, **options)
    times = reproduction.run()
    assert [taken.name for taken in times] == list(STEPS)
    assert [taken.name for taken in times if not taken.done_before] == reproduction.did
    return reproduction.did


def test_every_step_is_done_in_order_and_none_again(tmp_path: Path) -> None:
    assert done(tmp_path) == list(STEPS)
    assert done(tmp_path) == []


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_failed_is_done_again_and_the_ones_before_are_left_alone(tmp_path: Path, name: str) -> None:
    with pytest.raises(Stopped):
        StoodIn(tmp_path, fails=name).run()
    assert done(tmp_path) == list(STEPS[STEPS.index(name) :])


@pytest.mark.parametrize("step", StoodIn(Path()).steps(), ids=lambda step: step.name)
def test_a_missing_output_is_made_again_and_nothing_else_where_it_comes_back_as_it_was(
    tmp_path: Path, step: ReproductionStep
) -> None:
    done(tmp_path)
    for name in step.outputs:
        (tmp_path / step.place / name).unlink()
        assert done(tmp_path) == [step.name]


def test_another_training_is_evaluated_exported_and_reported_and_no_image_is_made_again(tmp_path: Path) -> None:
    done(tmp_path)
    (tmp_path / "run" / "summary.json").unlink()
    # the analysis as well gives other numbers
    other = {"train": b"other weights", "evaluate and prognosis": b"other cut-offs"}
    assert done(tmp_path, content=other) == ["train", "evaluate and prognosis", "export", "report"]
    assert done(tmp_path) == []


def test_a_run_that_was_exchanged_by_hand_is_noticed(tmp_path: Path) -> None:
    done(tmp_path)
    (tmp_path / "run" / "predictions.parquet").write_bytes(b"of an accelerator")
    assert done(tmp_path) == ["evaluate and prognosis", "export", "report"]


def test_changed_code_makes_again_what_it_decides_and_leaves_cohort_and_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(tmp_path)
    monkeypatch.setattr(
        training.reproduce, "source_digest", lambda sources: "changed" if "training/expression" in sources else ""
    )
    monkeypatch.setattr(training.reproduce, "DISTURBING", ())
    for place in ("run", "report"):
        (tmp_path / place / "figure-of-before.svg").touch()
    did = done(tmp_path)
    assert did[-3:] == ["evaluate and prognosis", "export", "report"]
    assert not {"synthesise", "prepare", "train"} & set(did)
    assert (tmp_path / "run" / "figure-of-before.svg").exists()
    assert not (tmp_path / "report" / "figure-of-before.svg").exists()


def test_other_settings_are_another_reproduction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done(tmp_path)
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, permutations=30))
    assert done(tmp_path) == list(STEPS)


def test_the_digest_of_sources_is_of_their_names_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "training"
    (package / "part").mkdir(parents=True)
    monkeypatch.setattr(training.reproduce, "__file__", str(package / "reproduce.py"))
    found = []
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2"), ("c.html.j2", "2"), ("note.md", "2")):
        (package / "part" / name).write_text(text)
        found.append(source_digest(["training/part"]))
    assert len(set(found[:4])) == 4
    assert found[4] == found[3]
    assert source_digest(training.reproduce.DISTURBING[:0]) != found[0]


def test_every_source_that_a_mark_depends_on_is_there() -> None:
    for sources in (training.reproduce.DISTURBING, training.reproduce.ANALYSING, training.reproduce.EXPORTING):
        for source in sources:
            assert (Path(training.reproduce.__file__).parents[1] / source).exists(), source


# --- From nothing to the report: arrays are drawn in place of images, all else is real ---


def drawn(folder: Path, seed: int = 0, unlabelled: int = 0) -> PreparedCohort:
    """Draw a synthetic cohort of `SETTINGS` as its preparation leaves it, the truth beside it."""
    rng = np.random.default_rng(seed)
    sizes = SETTINGS.synthesis
    groups = np.repeat(
        ["expression", "prognosis", "gate", "pretrain"], [sizes.expression, sizes.prognosis, sizes.gate, unlabelled]
    )
    n = groups.size
    truth = rng.normal(-0.5, 1.0, n)
    label = (rng.random(n) < expit(2 * truth)).astype(float)
    rows = [
        {
            "case_id": f"case-{k:03d}",
            "split": None if groups[k] == "expression" else groups[k],
            "label": None if groups[k] == "pretrain" else label[k],
            "age": float(rng.integers(40, 80)),
            "sex": float(rng.integers(2)),
            "smoking": None if k % 11 == 0 else float(rng.integers(3)),
            "family_history": float(rng.integers(2)),
            "volume_ml": float(np.exp(rng.normal(3, 1))),
            "content_digest": f"{k:064x}",
            **({"pfs_days": float(rng.integers(30, 600)), "progressed": 1.0} if groups[k] == "prognosis" else {}),
        }
        for k in range(n)
    ]
    radiomics = rng.normal(size=(n, len(FEATURE_NAMES)))
    radiomics[:, :40] += truth[:, None]
    patches = rng.normal(-300, 100, (n, 3, 112, 112))
    patches[:, :, 30:80, 30:80] += 300 + 100 * truth[:, None, None, None]
    masks = np.zeros(patches.shape, dtype=bool)
    masks[:, :, 30:80, 30:80] = True
    document = {**true_model(TruthSettings()).document(), "seed": 0}
    factors = {name: truth + rng.normal(size=n) for name in FACTORS}
    table = pd.DataFrame({"case_id": [row["case_id"] for row in rows], **factors, "bayes_logit": 2 * truth})
    write_atomically(folder / "truth.json", json.dumps(document).encode("utf-8"))
    write_atomically(folder / "truth.csv", table.to_csv(index=False).encode("utf-8"))
    manifest = {"truth": "truth.json", "truth_table": "truth.csv", "config_digest": "0" * 64}
    hu = np.rint(patches).astype(np.int16)
    return write_prepared_cohort(
        folder, case_table(rows), hu, masks, radiomics, rim=radiomics[:, ::-1], manifest=manifest
    )


def _synthesised(folder: Path, *_: object, **__: object) -> None:
    for name in ("cohort.csv", "truth.json", "truth.csv"):
        write_atomically(folder / name, b"")


def _prepared(_: object, folder: Path, *__: object, **___: object) -> PreparedCohort:
    """The same patients, where a second scan is prepared."""
    return drawn(folder)


def _scanned(cohort: Path, case_ids: object, kind: str, folder: Path, **_: object) -> Path:
    folder.mkdir(parents=True)
    return folder / "cohort.csv"


def _disturbed(chosen: PreparedCohort, _: object, __: object, ___: object, folder: Path, **____: object) -> None:
    radiomics = np.random.default_rng(1).permutation(chosen.radiomics)
    write_prepared_cohort(folder, chosen.cases, chosen.patches[:, :, ::-1], chosen.masks, radiomics)


@dataclass(frozen=True)
class Whole:
    folder: Path
    said: list[str]
    analyses: int

    def again(self, **options: Any) -> Reproduction:
        return Reproduction(self.folder, SETTINGS, hardware=CPU, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """One reproduction; its stand-ins stay in place for those who call it again."""
    folder = tmp_path_factory.mktemp("reproduction") / "whole"
    said: list[str] = []
    asked: list[int] = []

    def noted(*given: Any, **options: Any) -> Any:
        asked.append(1)
        return analyse(*given, **options)

    analyse = training.reproduce.analyse_cohort
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        for name, stand_in in (
            ("synthesise_cohort", _synthesised),
            ("prepare_cohort", _prepared),
            ("read_cohort", lambda path: SimpleNamespace(rows=())),
            ("case_sources", lambda table: {}),
            ("further_scans", _scanned),
            ("prepare_control", _disturbed),
            ("analyse_cohort", noted),
        ):
            patched.setattr(training.reproduce, name, stand_in)
        Reproduction(folder, SETTINGS, hardware=CPU, say=said.append).run()
        yield Whole(folder, said, len(asked))
    torch.set_num_threads(threads)


def test_from_nothing_to_model_and_report(whole: Whole) -> None:
    assert [line.partition(":")[0] for line in whole.said] == [*STEPS, "all steps"]
    metadata = FusionModel.load(whole.folder / "model").metadata
    assert metadata.training_data == "synthetic"
    report = json.loads((whole.folder / "report" / "report.json").read_text())
    assert report["evaluation"]["cohorts"]["Further test"]["n"] == 16
    assert report["prognosis"]["n"] == 24
    assert report["retest"]["n"] > 0
    assert (whole.folder / "report" / "report.html").stat().st_size > 1e5


def test_card_metadata_and_report_state_the_same_claims_on_the_known_truth(whole: Whole) -> None:
    claims = json.loads((whole.folder / "report" / "report.json").read_text())["gates"]
    document = json.loads((whole.folder / "model" / "metadata.json").read_text())
    assert document["pdl1es"]["performance"]["gates"] == claims
    assert [claim["claim"] for claim in claims if "Bayes" in claim["claim"]]
    assert len([claim for claim in claims if "True hazard ratio" in claim["claim"]]) == 2
    card = (whole.folder / "model" / "MODEL_CARD.md").read_text()
    for claim in claims:
        holds = {True: "yes", False: "**no**", None: "not tested"}[claim["holds"]]
        words = claim["claim"].replace("on the same patients", "on the same phantoms")
        assert f"| {words} | {claim['found']} | {holds} |" in card
    assert "| Phantoms with simulated progression | PD-L1ES: C-index of the score |" in card
    assert "| Test | Brier score |" in card


def test_the_cut_offs_are_of_the_runs_own_scores_and_found_once(whole: Whole) -> None:
    own = model_digest(whole.folder / "run" / "networks" / "PD-L1ES")
    assert read_cut_offs(whole.folder / "cut-offs" / "cut_offs.json").model == own
    assert whole.analyses == 1


def test_a_whole_reproduction_is_left_alone(whole: Whole) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()}
    assert all(taken.done_before for taken in whole.again().run())
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("column", "said"), [("probability", "score"), ("imputed_age", "clinical risk")])
def test_an_export_that_disagrees_with_the_training_is_an_error_and_no_model(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, column: str, said: str
) -> None:
    (whole.folder / "model" / "MODEL_CARD.md").unlink()
    read = training.reproduce.run_predictions

    def other(*given: Any, **options: Any) -> pd.DataFrame:
        table = read(*given, **options)
        return table.assign(**{column: table[column] + 0.05 * (table["case_id"] == "case-007")})

    with monkeypatch.context() as patched:
        patched.setattr(training.reproduce, "run_predictions", other)
        with pytest.raises(ReproductionError, match=f"{said} differs by"):
            whole.again().run()
    assert not (whole.folder / "model" / "MODEL_CARD.md").exists()
    assert [taken.name for taken in whole.again().run() if not taken.done_before] == ["export"]


def test_the_exported_cox_models_give_what_the_cut_offs_give(whole: Whole) -> None:
    """The reference of the check: from imputed variables and score, by hand."""
    cut_offs = read_cut_offs(whole.folder / "cut-offs" / "cut_offs.json")
    assert cut_offs.clinical is not None
    assert cut_offs.fusion is not None
    cases = pd.read_parquet(whole.folder / "prepared" / CASES_FILE)
    values = cases[list(VARIABLES)].fillna(1.0).to_numpy(dtype=np.float64)
    score = np.linspace(0.1, 0.9, len(values))
    risks = cut_offs.risks(values, score)
    row = 5
    clinical = sum(
        c * (v - m)
        for c, v, m in zip(cut_offs.clinical.coefficients, values[row], cut_offs.clinical.means, strict=True)
    )
    fusion = sum(
        c * (v - m)
        for c, v, m in zip(cut_offs.fusion.coefficients, (score[row], clinical), cut_offs.fusion.means, strict=True)
    )
    assert (risks["clinical_risk"][row], risks["fusion_risk"][row]) == pytest.approx((clinical, fusion), abs=1e-12)


# --- The recipe that learns from images without a label ---

LABEL_FREE = replace(
    SETTINGS,
    training=TrainingConfig.model_validate(
        {**SETTINGS.training.model_dump(), "recipe": "label-free", "models": ["PD-L1ES"]}
    ),
    pretraining=PretrainingConfig(patches=160, batch_size=8, components=3, layers="small"),
)


def test_the_label_free_recipe_goes_from_nothing_to_the_model_and_its_claims(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        training.reproduce, "prepare_cohort", lambda _, folder, *__, **___: drawn(folder, unlabelled=10)
    )
    times = Reproduction(tmp_path, LABEL_FREE, hardware=CPU).run()
    assert [taken.name for taken in times] == [*STEPS[:2], "pretrain", *STEPS[2:]]
    patients = json.loads((tmp_path / "pretrained" / "pretraining.json").read_text())["patients"]
    assert patients == {"pretrain": 10, "all": 10 + 47}
    assert FusionModel.load(tmp_path / "model").metadata.recipe == "label-free"
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "Youden on out-of-fold scores" in card
    assert "Expected AUC of PD-L1ES within 0.05" in card
    assert (
        json.loads((tmp_path / "report" / "report.json").read_text())["evaluation"]["cohorts"]["Further test"]["n"]
        == 16
    )
    again = Reproduction(tmp_path, LABEL_FREE, hardware=CPU).run()
    assert [taken.name for taken in again if not taken.done_before] == []


def test_a_pretraining_is_part_of_what_a_mark_depends_on() -> None:
    assert LABEL_FREE.document() != replace(LABEL_FREE, pretraining=None).document()
    assert "pretraining" not in SETTINGS.document(), "the marks of earlier runs of the paper's recipe stay valid"

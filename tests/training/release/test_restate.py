"""The demonstration's words written again: phantoms are called phantoms, and no score changes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from pdl1es.model.digests import sha256_of
from pdl1es.model.fusion import FusionModel
from pdl1es.model.metadata import CutOff
from training.release.performance import Performance, Statement
from training.release.reader_words import expression_accuracy, told
from training.release.restate import RestateError, restate

SUMMARY = {"counts": {"validation": {"patients": 93}}}
NAMES = ("sensitivity", "specificity", "positive predictive value", "negative predictive value")


def performance(**cohorts: float) -> Performance:
    """Four rates of each cohort; a cohort's number gives the first."""
    return Performance(
        statements=tuple(
            Statement(
                what=f"{name} at 0.397",
                value=value,
                limits=(value - 0.1, value + 0.1),
                patients=10,
                events=4,
                cohort=cohort.replace("_", " "),
            )
            for cohort, value in cohorts.items()
            for name in NAMES
        )
    )


@pytest.fixture
def shipped(repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repository / "models" / "pdl1es", tmp_path / "model"))


def test_the_network_stays_the_same_and_every_file_knows_the_new_one(shipped: Path) -> None:
    before = onnx.load(shipped / "model.onnx").graph.SerializeToString(deterministic=True)
    restate(shipped, version="9.9.9", cohort="Of a test", note="again")
    assert onnx.load(shipped / "model.onnx").graph.SerializeToString(deterministic=True) == before
    model = FusionModel.load(shipped)  # holds the files against the digests
    assert model.metadata.version == "9.9.9"
    expected = json.loads((shipped / "self_test.json").read_bytes())
    assert expected["model_sha256"] == sha256_of((shipped / "model.onnx").read_bytes())
    assert json.loads((shipped / "metadata.json").read_bytes())["changelog"]["9.9.9"] == "again"
    assert (shipped / "MODEL_CARD.md").read_text().startswith("# PD-L1ES 9.9.9\n")


def test_a_model_of_phantoms_tells_a_reader_of_no_patients_but_that_there_are_none(shipped: Path) -> None:
    told_of = restate(shipped, version="9.9.9", cohort="No patient", note="again")
    words = " ".join(
        [
            *told_of.limitations,
            told_of.expression_cut_off.method,
            told_of.progression_cut_off.method,
            told_of.trained_on,
        ]
    )
    assert "phantoms" in words
    for phrase in ("immunotherapy cohort", "Bayes", "claims", "own patients", "test patients"):
        assert phrase not in words, phrase
    assert told_of.expression_accuracy is not None
    assert (told_of.expression_accuracy.number, told_of.expression_accuracy.high) == (1000, 371)


def test_the_card_calls_its_cases_phantoms(shipped: Path) -> None:
    restate(shipped, version="9.9.9", cohort="No patient", note="again")
    card = (shipped / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "mmunotherapy" not in card
    assert (
        re.findall(r"\d (?:training )?patients|those very patients|\| patients|same patients|the patients", card) == []
    )
    assert "| split | phantoms | high expression |" in card
    assert "| phantoms with simulated progression (n = 93) |" in card
    assert "| Phantoms with simulated progression | PD-L1ES: C-index of the score |" in card
    assert "not for any decision on a patient" in card
    restate(shipped, version="9.9.9", cohort="No patient", note="again")
    assert (shipped / "MODEL_CARD.md").read_text(encoding="utf-8") == card


def test_a_model_of_patients_is_left_alone(shipped: Path) -> None:
    model = onnx.load(shipped / "model.onnx")
    entry = model.metadata_props[0]
    entry.value = entry.value.replace('"training_data":"synthetic"', '"training_data":"patients"')
    onnx.save(model, shipped / "model.onnx")
    before = (shipped / "model.onnx").read_bytes()
    with pytest.raises(RestateError, match="patients"):
        restate(shipped, version="9.9.9", cohort="x", note="y")
    assert (shipped / "model.onnx").read_bytes() == before


def test_the_accuracy_is_of_the_cases_farthest_from_the_training() -> None:
    found = expression_accuracy(performance(Test=0.9, Further_test=0.5), synthetic=True)
    assert found is not None
    assert found.cohort == "further synthetic phantoms"
    assert np.isclose(found.sensitivity.value, 0.5)
    other = expression_accuracy(performance(Test=0.8, External=0.6), synthetic=False)
    assert other is not None
    assert (other.cohort, other.sensitivity.value) == ("patients of another cohort", 0.6)


@pytest.mark.parametrize("known", [None, Performance(), performance(Immunotherapy=0.5)])
def test_no_accuracy_is_stated_where_none_was_measured(known: Performance | None) -> None:
    assert expression_accuracy(known, synthetic=True) is None


def test_a_cut_off_of_patients_keeps_its_words() -> None:
    cut = CutOff(value=0.4, method="X-tile on the immunotherapy cohort", above="high risk", below="low risk")
    assert told(cut, SUMMARY, None, synthetic=False) == cut
    assert told(cut, SUMMARY, None, synthetic=True).method == "X-tile on phantoms with simulated progression"

"""Answers that a machine knows: from the run's record, or because this software does it in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from training.checklists.answer import ChecklistAnswer
from training.checklists.run_facts import RunFacts

FEWEST_PER_COEFFICIENT: Final = 10
"""Patients of the smaller class for each coefficient: the rule of thumb by which METRICS-E3 partly judges item 16."""
CLINICAL_VARIABLES: Final = 4


def known_answers(facts: RunFacts) -> dict[str, dict[str, ChecklistAnswer]]:
    """Return the answers that need no person.

    Parameters
    ----------
    facts
        Of the run.

    Returns
    -------
    dict[str, dict[str, ChecklistAnswer]]
        By checklist and by the item's number.
    """
    return {key: {no: answer(facts) for no, answer in items.items()} for key, items in _KNOWN.items()}


def _always(where: str) -> Callable[[RunFacts], ChecklistAnswer]:
    return lambda facts: ChecklistAnswer("yes", where)


def _met(met: bool, where: str, most: float | None = None) -> ChecklistAnswer:
    return ChecklistAnswer("yes" if met else "no", where, None if most is None else most if met else 0.0)


def _partitions(facts: RunFacts) -> str:
    numbers = " / ".join(str(facts.patients[split]) for split in ("train", "validation", "test"))
    return f"{numbers} patients for training, validation and test, drawn by patient and stratified by label, seed {facts.config['seed']}"


def _imbalance(facts: RunFacts) -> str:
    share = facts.high["train"] / facts.patients["train"]
    return f"{facts.high['train']} of {facts.patients['train']} training patients ({share:.1%}) have high expression; not corrected in training"


def _selection(facts: RunFacts) -> str:
    correction = facts.config.get("correction", "none")
    how = "uncorrected" if correction == "none" else f"corrected by {correction}"
    return (
        f"two-sided Mann-Whitney U, P < {facts.config['alpha']:g}, {how}: {facts.selected_features} of "
        f"{facts.tested_features} features that vary"
    )


def _stability(facts: RunFacts, most: float | None = None) -> ChecklistAnswer:
    met = facts.filters.get("stability") is not None
    where = (
        f"kept where the lower limit of the ICC reaches {facts.filters['smallest_icc']:g}" if met else "not in this run"
    )
    return _met(met, f"features that do not repeat are left out before the selection: {where}", most)


def _redundancy(facts: RunFacts) -> ChecklistAnswer:
    largest = facts.filters.get("largest_correlation")
    where = "not in this run" if largest is None else f"rank correlation at most {largest:g}"
    return _met(largest is not None, f"correlated features are thinned out: {where}")


def _dimensionality(facts: RunFacts) -> ChecklistAnswer:
    coefficients = facts.selected_features + CLINICAL_VARIABLES
    each = facts.smaller_class / coefficients
    return _met(
        each >= FEWEST_PER_COEFFICIENT,
        f"{facts.smaller_class} training patients of the smaller class for {coefficients} radiomic and clinical "
        f"coefficients: {each:.1f} each, where {FEWEST_PER_COEFFICIENT} are wanted; deep features come on top",
    )


def _beside(facts: RunFacts, names: tuple[str, ...], what: str, most: float | None = None) -> ChecklistAnswer:
    there = [name for name in names if name in facts.trained]
    return _met(
        len(there) == len(names), f"{what}: {', '.join(there) if there else 'none'} trained on the same patients", most
    )


def _initial(facts: RunFacts) -> str:
    digest = facts.config.get("pretrained")
    start = f"a file of weights (SHA-256 {digest[:12]}...)" if digest else "random weights"
    return f"{start}, seed {facts.config['seed']}"


def _training(facts: RunFacts) -> str:
    config = facts.config
    if config.get("recipe") == "label-free":
        return (
            f"recipe label-free: frozen network, one layer with a ridge strength for each part, {config['folds']} folds"
        )
    rates = ", ".join(f"{stage['learning_rate']:g} for {stage['epochs']} epochs" for stage in config["stages"])
    return (
        f"Adam at {rates}; {config['batch_size']} patients a step, patience {config['patience']}, augmentation "
        f"{config['augmentation']}; all of it in run.json"
    )


def _tested(facts: RunFacts, most: float | None = None) -> ChecklistAnswer:
    number = facts.patients["test"]
    return _met(number > 0, f"{number} patients on whom nothing was fitted or chosen", most)


_KNOWN: Final[Mapping[str, Mapping[str, Callable[[RunFacts], ChecklistAnswer]]]] = {
    "metrics": {
        "9": lambda facts: ChecklistAnswer("n/a", "no segmentation by software is part of the method"),
        "11": _always("1 mm grid, whole HU, window: method.md and the method's digest in every model"),
        "12": _always("pyradiomics 3.0.1's definitions, compared with IBSI 1 (ibsi.md)"),
        "13": _always("pdl1es/features/settings.yaml; every model names its settings by the digest"),
        "14": _stability,
        "15": _redundancy,
        "16": _dimensionality,
        "17": lambda facts: ChecklistAnswer(
            "n/a", "deep and hand-crafted features are fused, which METRICS-E3 counts as tabular"
        ),
        "18": lambda facts: ChecklistAnswer("yes", _partitions(facts) + "; divided before anything is fitted"),
        "20": _always("AUC, sensitivity to NPV, Brier score, decision curves, C-index, hazard ratios"),
        "21": _always("an interval for every estimate of the report"),
        "22": _always("calibration slope, intercept and curve in the report"),
        "23": _always("one CT series"),
        "24": lambda facts: _beside(facts, ("CM",), "clinical variables alone, DeLong's test"),
        "25": lambda facts: _beside(
            facts, ("RM", "CM"), "one linear layer on radiomics and on clinical variables, DeLong's test"
        ),
        "26": _tested,
    },
    "rqs": {
        "7": lambda facts: ChecklistAnswer("yes", "1 mm grid, whole HU, window", 1),
        "9": lambda facts: ChecklistAnswer("yes", "pyradiomics 3.0.1's definitions, compared with IBSI 1 (ibsi.md)", 1),
        "11": lambda facts: ChecklistAnswer("yes", _selection(facts), 1),
        "12": lambda facts: _stability(facts, 1),
        "13": lambda facts: _beside(facts, ("PD-L1ES", "DLM", "RM"), "fused, deep alone and radiomics alone", 1),
        "14": lambda facts: _beside(facts, ("PD-L1ES", "CM"), "with clinical variables, and those alone", 2),
        "15": lambda facts: _tested(facts, 1),
        "18": lambda facts: ChecklistAnswer("yes", "calibration slope, intercept and curve in the report", 1),
    },
    "claim": {
        "12": _always(
            "k nearest neighbours for clinical values; a missing feature counts as the training mean and is listed"
        ),
        "19": lambda facts: ChecklistAnswer("yes", _partitions(facts) + "; " + _imbalance(facts)),
        "20": _always("the patient: the three slices of one are in one partition"),
        "24": lambda facts: ChecklistAnswer("yes", _initial(facts)),
        "25": lambda facts: ChecklistAnswer("yes", _training(facts)),
        "27": lambda facts: ChecklistAnswer(
            "n/a", "one network; a patient's score is that of the mean logit of three slices"
        ),
        "32": _tested,
    },
    "clear": {
        "15": lambda facts: ChecklistAnswer(
            "yes", _partitions(facts) + "; the three slices of a patient are in one split"
        ),
        "27": lambda facts: ChecklistAnswer(
            "yes", f"1316, all named in the model's metadata; {facts.selected_features} are used"
        ),
        "30": lambda facts: ChecklistAnswer("partly", _imbalance(facts)),
        "33": lambda facts: ChecklistAnswer("yes", _selection(facts)),
    },
    "tripod-ai": {
        "13": lambda facts: ChecklistAnswer("partly", _imbalance(facts)),
    },
}

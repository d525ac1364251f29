"""Writes a model's card from the numbers of a run and its evaluation."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from pdl1es.method import PATCH_SIZE
from pdl1es.model.folder import METADATA_FILE, MODEL_FILE
from pdl1es.model.metadata import CutOff, ModelMetadata
from training.release.bundle import DEMONSTRATION, REFERENCE
from training.release.calibration_claim import CalibrationClaim
from training.release.performance import IMMUNOTHERAPY, Performance
from training.train.config import PAPER_STAGES
from training.train.filters import filters_in_words
from training.train.summary import strengths_in_words

SPLITS: Final = {
    "train": "training",
    "validation": "validation",
    "test": "test",
    "gate": "further test",
    "prognosis": "immunotherapy",
}
"""Names on the card of the splits of a cohort."""

_SPLITS_OF_RECIPE: Final = {
    "paper": "Training values are optimistic, validation values too: they\nchose the epoch. Nothing was trained or chosen on "
    "the patients of the other columns.",
    "label-free": "Training and validation values are out of fold: of\nlayers that were fitted without the patients they are "
    "of. Nothing was trained or chosen on the patients of the other columns.",
}
_OF_PHANTOMS: Final = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"(\| split \| |AUC over |on those very |on the same |99\.9 % of the \d+ training )patients", r"\1phantoms"),
        (r"How far the training patients lie", "How far the training phantoms lie"),
        (r"(on|without)(\s+)the(\s+)patients(\s+)(of the other columns|they are of)", r"\1\2the\3phantoms\4\5"),
        (r"\| measure \| training patients \|", "| measure | training phantoms |"),
        (r"\| patients \(events\) \|", "| phantoms (events) |"),
        (r"\bimmunotherapy (\(n = |\|)", r"phantoms with simulated progression \1"),
        (r"\| Immunotherapy \|", "| Phantoms with simulated progression |"),
        (r"in the immunotherapy cohort, progression", "in the phantoms with simulated progression, progression"),
        (r"the deviance of patients(\s+)who were", r"the deviance of phantoms\1that were"),
        (r"training and validation patients were fitted", "training and validation phantoms were fitted"),
        (r"that at least five patients share \((\d+) patients\)", r"that at least five phantoms share (\1 phantoms)"),
        (r"so that no patient can be found", "so that no phantom can be found"),
        (r"the same rule over the patients themselves", "the same rule over the phantoms themselves"),
        (r"(\(at most [^()\s]+\) in \d+) patients", r"\1 phantoms"),
    )
)
"""What a card says of the cases, as it is of phantoms. What it says to patients, that it is not for them, stays."""
DIRECTION: Final = (
    "In the paper a higher score means shorter progression-free survival, which its authors call contrary to common sense.\n"
    "The direction of the groups here is the one that was found on this model's own cases; reports say it beside the groups."
)


def model_card(
    metadata: ModelMetadata,
    summary: dict[str, Any],
    difference: float,
    cases: int,
    claim: CalibrationClaim,
    performance: Performance | None = None,
    *,
    with_cut_offs: bool,
) -> str:
    """Return ``MODEL_CARD.md``.

    Parameters
    ----------
    metadata, summary, difference, performance
        As of `bundle_metadata`.
    cases
        Random cases on which torch and onnxruntime were compared.
    claim
        Whether the score may be called a probability.
    with_cut_offs
        Whether the export was given ``cut_offs.json``; the printed commands then make it as well.

    Returns
    -------
    str
        Markdown.
    """
    warning = {
        "synthetic": f"**{DEMONSTRATION}. Trained on synthetic phantoms: a demonstration, not for any decision on a "
        "patient.** No number below says anything about patients: the phantoms' truth was drawn by the same project.",
        "untrained": f"**{DEMONSTRATION}.**",
        "patients": "For research. It has no regulatory clearance and was not validated elsewhere unless stated below.",
    }[metadata.training_data]
    counts, fitted, config = summary["counts"], summary["fitted"], summary["config"]
    cohort = "\n".join(
        f"| {name} | {count['patients']} | {count['high']} ({_percent(count['high'], count['patients'])}) |"
        for name, count in ((name, counts[split]) for split, name in SPLITS.items() if split in counts)
    )
    low, high = metadata.window_hu
    cross_fitted = config.get("recipe") == "label-free"
    notes = "\n".join(f"- {note}" for note in metadata.limitations)
    differences = "; ".join(
        f"{item['variable'].replace('_', ' ')} {item['mean']:.2g} (at most {item['largest']:.2g}) in {item['missing']} patients"
        for item in fitted["imputation_difference_from_exact"]
        if item["missing"]
    )
    card = f"""# {metadata.name} {metadata.version}

{warning}

| | |
|---|---|
| Intended use | {metadata.intended_use} |
| Trained on | {metadata.trained_on} |
| Training data | {metadata.training_data} |
| Score is called | {"a probability" if metadata.calibrated else "a score"}. {claim.reason} |
| Licence | Apache-2.0 |

## Cohort

| split | patients | high expression |
|---|---|---|
{cohort}

## Numbers

AUC over patients with its 95 % interval. {_SPLITS_OF_RECIPE["label-free" if cross_fitted else "paper"]}

{_area_table(summary)}

{_performance(performance)}

Decision curves, strata, controls and every other number: the report of `pdl1es evaluate` and `pdl1es prognosis` on the
same cohort.
{_known_truth(performance)}
## Cut-offs

| quantity | groups | found by |
|---|---|---|
{_cut_off_rows(metadata)}

{DIRECTION}

{reach_section(metadata)}
## Limits

{notes}

## How it was trained

{"DenseNet121" if config["layers"] == "densenet121" else "A small DenseNet, for tests of the mechanics only,"} on patches of {PATCH_SIZE} x {PATCH_SIZE} (HU window {low:g} to {high:g}), {fitted["selected_features"]} radiomic
features of {fitted["tested_features"]} tested (Mann-Whitney U, P < {fitted["alpha"]:g}, correction {fitted["correction"]};
{fitted["constant_features"]} were constant) and four clinical variables, in one linear layer, as Figure 1 of {REFERENCE}.
{_by_filters(fitted)}{_by_ridge(summary) if cross_fitted else _by_epochs(summary)}

Imputation from {fitted["profiles"]} profiles that at least five patients share ({fitted["patients_in_profiles"]} patients),
so that no patient can be found in the file. Mean difference from the same rule over the patients themselves:
{differences or "nothing was missing"}.

## The file

`{MODEL_FILE}` is the whole: HU window, imputation, selection, standardisation, network{", Cox models" if metadata.clinical_cut_off else ""}.
Inputs and outputs: `metadata.json`. onnxruntime differed from torch by at most {difference:.0e} on {cases} random cases.
Digest of the method that it belongs to: `{metadata.method_digest}`; the application refuses the file where its own
differs.

## How to train it again

The same cohort, configuration, versions, precision and threads give the same weights on the same machine. Names in
capitals are yours; the configuration is in the `{METADATA_FILE}` beside this card.

{_recipe(metadata, summary, with_cut_offs)}

Versions: {", ".join(f"{name} {number}" for name, number in summary["versions"].items())}.

## Radiomic features that it uses

{", ".join(f"`{name}`" for name in metadata.selected_features) or "none"}
"""
    return of_phantoms(card) if metadata.training_data == "synthetic" else card


def of_phantoms(card: str) -> str:
    """Return a card that calls the cases of its tables and sentences phantoms, and those with progression by that.

    Parameters
    ----------
    card
        Of a model that was trained on phantoms.

    Returns
    -------
    str
    """
    for pattern, words in _OF_PHANTOMS:
        card = pattern.sub(words, card)
    return card


def reach_section(metadata: ModelMetadata) -> str:
    """Return what the card says of how far the training patients lie."""
    reach = metadata.training_reach
    if reach is None:
        return "## Beyond the training\n\nHow far the training patients lie was not measured.\n"
    return f"""## Beyond the training

A tumour beyond 99.9 % of the {reach.patients} training patients has a score and no group (`UNLIKE_TRAINING`).

| measure | training patients |
|---|---|
| share of the features that lie more than 5 standard deviations from the mean | at most {reach.clipped_share:.1%} |
| Mahalanobis distance in the {len(reach.centre)} features, covariance shrunken (Ledoit-Wolf) | at most {reach.distance:.1f} |
| volume | {reach.volume_ml[0]:.2f} to {reach.volume_ml[1]:.1f} mL |
| longest diameter | {reach.longest_diameter_mm[0]:.1f} to {reach.longest_diameter_mm[1]:.1f} mm |
"""


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _all_networks(summary: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    named = list(summary["networks"].items())
    for number, networks in summary["redivisions"].items():
        named += [(f"{name}, re-division {number}", document) for name, document in networks.items()]
    return named


def _area_table(summary: dict[str, Any]) -> str:
    """Return a column for each split in which any network has an AUC."""
    networks = _all_networks(summary)
    patients = {
        split: max(
            (document["auc"][split]["patients"] for _, document in networks if split in document["auc"]), default=0
        )
        for split in SPLITS
    }
    splits = [split for split, number in patients.items() if number]
    header = [f"{SPLITS[split]} (n = {patients[split]})" for split in splits]
    rows = [f"| model | {' | '.join(header)} |", "|---|" + "---|" * len(splits)]
    for name, document in networks:
        cells = []
        for split in splits:
            area = document["auc"].get(split)
            cells.append(f"{area['value']:.2f} ({area['lower']:.2f}-{area['upper']:.2f})" if area else "-")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _performance(performance: Performance | None) -> str:
    """Return the numbers of the analyses as a table, or that there are none."""
    if performance is None or not performance.statements:
        return (
            "Sensitivity, specificity, predictive values, calibration and survival are **not stated**: the export was given "
            "no `cut_offs.json` that holds them."
        )
    rows = [
        f"| {found.cohort} | {found.what} | {found.words()} | {found.patients} ({found.events}) |"
        for found in performance.statements
    ]
    notes = ["At the cut-offs below, with 95 % intervals. An event is high expression"]
    if any(found.cohort == IMMUNOTHERAPY for found in performance.statements):
        notes.append(
            "; in the immunotherapy cohort, progression. Its cut-offs were searched, and its Cox models fitted, on those very "
            "patients: hazard ratios and C-indices are optimistic there, and the P to read is the one after the search"
        )
    table = ["| cohort | number | value (95 % CI) | patients (events) |", "|---|---|---|---|", *rows]
    return "".join(notes) + ".\n\n" + "\n".join(table)


def _known_truth(performance: Performance | None) -> str:
    """Return what a synthetic cohort's truth says of the model; nothing where the cohort has none."""
    if performance is None or not performance.gates:
        return ""
    failed, untested = performance.not_holding, [gate for gate in performance.gates if gate.holds is None]
    said = [
        f"**{'These claims do' if len(failed) > 1 else 'This claim does'} not hold: {'; '.join(g.claim for g in failed)}.**"
        if failed
        else "Every claim that could be tested holds."
    ]
    if untested:
        said.append(f"Not tested: {'; '.join(gate.claim for gate in untested)}.")
    holds = {True: "yes", False: "**no**", None: "not tested"}
    rows = [f"| {gate.claim} | {gate.found} | {holds[gate.holds]} |" for gate in performance.gates]
    table = "\n".join(["| claim | found (95 % CI) | holds |", "|---|---|---|", *rows])
    return f"\n## Claims on the known truth\n\n{' '.join(said)}\n\n{table}\n"


def _epochs(summary: dict[str, Any]) -> str:
    """Return where fewer epochs were planned than the paper's, and where fewer ran than were planned."""
    planned = summary["config"]["stages"]
    paper = PAPER_STAGES[0].epochs
    sentences = []
    if len(planned) < len(PAPER_STAGES) or any(stage["epochs"] < paper for stage in planned):
        numbers = ", ".join(f"{stage['epochs']} at {stage['learning_rate']:g}" for stage in planned)
        sentences.append(
            f"**Fewer epochs were planned than the paper's {paper} at each of {len(PAPER_STAGES)} learning rates**: {numbers}."
        )
    stopped = [
        f"{name} {document['epochs']} ({' + '.join(str(stage['epochs']) for stage in document['stages'])})"
        for name, document in _all_networks(summary)
        if document["epochs"] < document["epochs_planned"]
    ]
    if stopped:
        total = sum(stage["epochs"] for stage in planned)
        sentences.append(
            f"**Early stopping ended the training before the {total} planned epochs**: {', '.join(stopped)}; in brackets, at "
            "each learning rate."
        )
    return " ".join(sentences) or "Every network ran every planned epoch, and no fewer were planned than in the paper."


def _recipe(metadata: ModelMetadata, summary: dict[str, Any], with_cut_offs: bool) -> str:
    document = f"json.load(open('{METADATA_FILE}'))['pdl1es']['training']['config']"
    weights = " --pretrained WEIGHTS" if summary["config"]["pretrained"] else ""
    if summary["config"].get("filters", {}).get("stability"):
        weights += " --stability REPEATS"
    precision = summary["networks"]["PD-L1ES"]["precision"]
    name = f"--name {shlex.quote(metadata.name)} --model-version {shlex.quote(metadata.version)}"
    lines = [
        f'python3 -c "import json; print(json.dumps({document}))" > config.json',
        "pdl1es cohort prepare COHORT.csv PREPARED",
        f"pdl1es train PREPARED RUN --config config.json --precision {precision}{weights}",
        "pdl1es evaluate PREPARED REPORT/expression --run RUN",
    ]
    if with_cut_offs:
        lines.append("pdl1es prognosis PREPARED REPORT/progression --run RUN")
        name = f"--cut-offs REPORT/progression/cut_offs.json {name}"
    lines.append(f"pdl1es export RUN MODEL {name}")
    return "\n".join(f"    {line}" for line in lines)


def _by_epochs(summary: dict[str, Any]) -> str:
    """Say how the weights were trained by the paper's recipe."""
    config = summary["config"]
    stages = ", ".join(f"{stage['learning_rate']:g}" for stage in config["stages"])
    return f"""Recipe `paper`: every weight was trained on the labels.
Cross-entropy, Adam, learning rates {stages}, each from the best weights so far by validation AUC; a rate ends after
{config["patience"]} epochs without a better one. Augmentation: {config["augmentation"]}. Batches of {config["batch_size"]}
patches. Learning rate of the linear layer: {config["linear_rate_factor"]:g} times the network's. Weights to start from:
{_start(config)}. Seed {config["seed"]}.

{_epochs(summary)}

| network | epochs of those planned | best | on | patches/s | waiting for data |
|---|---|---|---|---|---|
{_network_rows(summary)}"""


def _by_ridge(summary: dict[str, Any]) -> str:
    """Say how the linear layer was fitted by the recipe without labels for the network."""
    config = summary["config"]
    rows = "\n".join(
        f"| {name} | {strengths_in_words(document)} | {document['deviance']:.4f} | {document['out_of_fold_auc']:.3f} |"
        for name, document in _all_networks(summary)
    )
    return f"""Recipe `label-free`: no label changed the network. Its weights are {_start(config)}.
The linear layer was fitted by logistic regression with a ridge strength for each part, chosen by the deviance of patients
who were held out in {config["folds"]} folds; training and validation patients were fitted on together. Seed {config["seed"]}.

| network | ridge strengths | deviance, out of fold | AUC, out of fold |
|---|---|---|---|
{rows}"""


def _by_filters(fitted: dict[str, Any]) -> str:
    """Return a line on the selection's filters; nothing where there were none."""
    words = filters_in_words(fitted.get("filters", {}))
    return f"{words}\n" if words else ""


def _start(config: dict[str, Any]) -> str:
    return "none" if config["pretrained"] is None else f"those of a file with SHA-256 {config['pretrained']}"


def _network_rows(summary: dict[str, Any]) -> str:
    return "\n".join(
        f"| {name} | {document['epochs']} of {document['epochs_planned']} | rate {document['best_stage']}, epoch "
        f"{document['best_epoch']}: {document['validation_auc']:.3f} | {document['device']} ({document['precision']}) | "
        f"{document['patches_per_second']:.0f} | {100 * document['waiting_for_data']:.1f} % |"
        for name, document in _all_networks(summary)
    )


def _cut_off_rows(metadata: ModelMetadata) -> str:
    named: list[tuple[str, CutOff | None]] = [
        ("PD-L1ES: PD-L1 expression", metadata.expression_cut_off),
        ("PD-L1ES: risk of progression", metadata.progression_cut_off),
        ("clinical Cox model", metadata.clinical_cut_off),
        ("fusion Cox model", metadata.fusion_cut_off),
    ]
    return "\n".join(
        f"| {label} | > {cut.value:.4g}: {cut.above}; else {cut.below} | {cut.method} |"
        for label, cut in named
        if cut is not None
    )

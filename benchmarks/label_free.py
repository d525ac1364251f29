"""What the recipe ``label-free`` reaches on phantoms, by weights of the network, number of labels, and model.

Run from the repository, with the training's requirements, on a prepared synthetic cohort with labels, one of further
cases that nothing was looked at on, and any number of files that ``pdl1es pretrain`` left::

    python -m benchmarks.label_free PREPARED FURTHER WEIGHTS... [--model models/pdl1es] [--output FILE]

Areas are expected ones (`training.known_truth.expected`): the mean over the labels that the further cases' truth could have
drawn, so that their noise does not hide what differs. Observed ones with DeLong's interval stand beside them. The layer is
fitted as ``pdl1es train --recipe label-free`` fits it; each network's features are computed once.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit

from pdl1es.model.fusion import FusionModel
from training.cohort.prepared import PreparedCohort
from training.cohort.synthesise import TRUTH_TABLE_FILE
from training.fit import coded_clinical, fit_preprocessing
from training.known_truth.expected import expected_auc
from training.known_truth.shortfall import FACTOR_OF
from training.scoring.cohort_scores import score_models
from training.scoring.predictions import SIGNATURE
from training.statistics.discrimination import auc, compare_paired
from training.train.config import PARTS, ModelName, TrainingConfig
from training.train.label_free import deep_features, fit_linear_layer
from training.train.run import initial_network

SHARES: Final = (0.125, 0.25, 0.5)
"""Of the labelled patients, for the learning curve; all of them come once."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Cohorts:
    """Labelled patients and further cases, and the further cases' truth in their order."""

    labelled: PreparedCohort
    further: PreparedCohort
    truth: pd.DataFrame

    @property
    def probability(self) -> Floats:
        """True probability of high expression of the further cases."""
        return expit(self.truth["bayes_logit"].to_numpy(dtype=np.float64))


@dataclass(frozen=True)
class _Scored:
    """The further cases' logits and parts by one fitted layer, and the area of the labelled ones out of fold."""

    logit: Floats
    parts: dict[str, Floats]
    out_of_fold: float
    strengths: str


def _fitted_layer(
    cohorts: _Cohorts,
    name: ModelName,
    config: TrainingConfig,
    weights: Path | None,
    deep: tuple[Floats, Floats] | None,
    rows: NDArray[np.intp],
) -> _Scored:
    """Fit the layer on some of the labelled patients, and score the further cases."""
    patients, further = cohorts.labelled.subset(rows), cohorts.further
    fitted = fit_preprocessing(
        patients.clinical,
        patients.radiomics,
        patients.labels,
        patients.smoking_graded,
        alpha=config.alpha,
        correction=config.correction,
    )
    network = initial_network(fitted, name, config, pretrained=weights)
    inside = None if deep is None else deep[0][rows]
    found = fit_linear_layer(network, patients, fitted, config, config.seed, deep=inside)
    coded = coded_clinical(further.clinical, further.smoking_graded, fitted.smoker_grade)
    with torch.inference_mode():
        radiomic, clinical = network.preprocess(torch.from_numpy(further.radiomics), torch.from_numpy(coded))
    bias, by_deep, by_radiomic, by_clinical = (weight.numpy() for weight in network.logit_weights())
    parts = {"radiomic": radiomic.numpy() @ by_radiomic, "clinical": clinical.numpy() @ by_clinical}
    if deep is not None:
        parts["deep"] = deep[1] @ by_deep
    return _Scored(
        float(bias) + np.sum(list(parts.values()), axis=0),
        parts,
        auc(patients.labels, found.out_of_fold).value,
        ", ".join(f"{part} {strength:g}" for part, strength in found.chosen.strengths.items()),
    )


def _areas(cohorts: _Cohorts, logit: Floats, signature: Floats | None = None) -> str:
    """Return expected area, its distance from the Bayes score's, the observed one, and P against the signature."""
    labels, probability = cohorts.further.labels, cohorts.probability
    expected, best = expected_auc(probability, logit), expected_auc(probability, probability)
    observed = auc(labels, logit)
    cells = [
        f"{expected:.3f}",
        f"{best - expected:.3f}",
        f"{observed.value:.3f} ({observed.lower:.3f} to {observed.upper:.3f})",
    ]
    if signature is None:
        return " | ".join([*cells, ""])
    test = compare_paired(labels, signature, logit)
    gap = test.difference
    return " | ".join([*cells, f"{gap.value:+.3f} ({gap.lower:+.3f} to {gap.upper:+.3f}), P = {test.p_value:.2g}"])


def _seen(cohorts: _Cohorts, parts: dict[str, Floats]) -> str:
    """Return Pearson's r of each part with the factor that it can see."""
    return ", ".join(
        f"{part} {np.corrcoef(values, cohorts.truth[FACTOR_OF[part]].to_numpy())[0, 1]:.2f}"
        for part, values in parts.items()
        if np.ptp(values) > 0
    )


def _stratified(labels: Floats, share: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw a share of the patients within each class."""
    chosen = []
    for label in (0.0, 1.0):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: round(share * len(members))])
    return np.sort(np.concatenate(chosen))


def main() -> int:
    """Fit, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("further", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--layers", default="densenet121", choices=["densenet121", "small"])
    parser.add_argument("--draws", type=int, default=4, help="of each size of the learning curve")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = TrainingConfig.model_validate({"recipe": "label-free", "seed": arguments.seed, "layers": arguments.layers})
    given, further = PreparedCohort.load(arguments.prepared), PreparedCohort.load(arguments.further).subset("gate")
    truth = pd.read_csv(arguments.further / TRUTH_TABLE_FILE).set_index("case_id").loc[list(further.case_ids)]
    fitted_on = given.cases["split"].isin(["train", "validation"]).to_numpy()
    cohorts = _Cohorts(given.subset(fitted_on), further, truth)
    everyone, rng = np.arange(len(cohorts.labelled)), np.random.default_rng([arguments.seed, 20])
    lines: list[str] = []

    def said(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    said(f"{len(everyone)} labelled, {len(further)} further cases, {int(further.labels.sum())} of them high")
    said("")
    said(
        "| model | expected AUC | behind Bayes | observed | PD-L1ES above it | out of fold | r with its factor | ridge |"
    )
    said("|---|---|---|---|---|---|---|---|")
    said(f"| Bayes | {_areas(cohorts, truth['bayes_logit'].to_numpy())} | | | |")
    if arguments.model is not None:
        table = score_models(further, {SIGNATURE: FusionModel.load(arguments.model, threads=1)})
        shipped = table.set_index("case_id")["logit"].loc[list(further.case_ids)].to_numpy(dtype=np.float64)
        said(f"| {arguments.model.name}, as it ships | {_areas(cohorts, shipped)} | | | |")
    curve: list[str] = []
    for file in arguments.weights:
        title = file.parent.name
        network = initial_network(
            fit_preprocessing(
                cohorts.labelled.clinical,
                cohorts.labelled.radiomics,
                cohorts.labelled.labels,
                cohorts.labelled.smoking_graded,
            ),
            "DLM",
            config,
            pretrained=file,
        ).eval()
        deep = deep_features(network, cohorts.labelled.patches), deep_features(network, further.patches)
        signature: Floats | None = None
        for name in PARTS:
            if not PARTS[name].deep and file != arguments.weights[0]:
                continue  # no weights take part in it
            own = deep if PARTS[name].deep else None
            found = _fitted_layer(cohorts, name, config, file if PARTS[name].deep else None, own, everyone)
            said(
                f"| {name}, {title} | {_areas(cohorts, found.logit, signature)} | {found.out_of_fold:.3f} | "
                f"{_seen(cohorts, found.parts)} | {found.strengths} |"
            )
            if signature is None:
                signature = found.logit
                if arguments.model is not None:
                    said(f"| the shipped one against it | {_areas(cohorts, shipped, signature)} | | | |")
        for share in SHARES if arguments.draws else ():
            reached = []
            for _ in range(arguments.draws):
                rows = _stratified(cohorts.labelled.labels, share, rng)
                part = _fitted_layer(cohorts, "PD-L1ES", config, file, deep, rows)
                reached.append(expected_auc(cohorts.probability, part.logit))
            curve.append(
                f"| {title} | {len(rows)} | {np.mean(reached):.3f} | {min(reached):.3f} to {max(reached):.3f} |"
            )
    if curve:
        said("")
        said(f"| weights | labels | expected AUC, mean of {arguments.draws} draws | smallest to largest |")
        said("|---|---|---|---|")
        for row in curve:
            said(row)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How often intervals of AUC and C-index hold the true value in few patients.

Run from the repository, with the training's requirements::

    python -m benchmarks.intervals [--samples 1000] [--output benchmarks/results/intervals.md]

AUC: binormal scores whose true area is known. C-index: a normal covariate under proportional hazards with exponential
censoring; the true index is that of 4,000 patients. Beside the intervals that the reports give stand the normal ones on the
value's own scale, with the same variances.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.stats import norm

from training.statistics.arrays import Estimate, Z
from training.statistics.concordance import concordance
from training.statistics.discrimination import FEW_OF_A_CLASS, Auc, auc

AREAS = (0.6, 0.75, 0.9, 0.97)
CLASSES = ((4, 8), (5, 20), (10, 10), (10, 40), (20, 20), (20, 80), (30, 60))
LOG_HAZARDS = (0.0, 0.7, 1.5)
PATIENTS = (8, 12, 16, 20, 30, 50)


def main() -> None:
    """Draw the samples and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    text = "\n".join(
        [*_introduction(arguments.samples), *_of_areas(arguments.samples), "", *_of_c(arguments.samples), ""]
    )
    if arguments.output:
        arguments.output.write_text(text)
    Console().print(text, markup=False)


def _introduction(samples: int) -> list[str]:
    return [
        "# Intervals of AUC and C-index in few patients",
        "",
        f"`python -m benchmarks.intervals`: share of {samples:,} samples whose 95 % interval holds the true value, and the median",
        f"width. Reports give, for the AUC, DeLong's variance on the scale of log-odds, and Newcombe's method 5 with fewer than "
        f"{FEW_OF_A_CLASS}",
        "patients of a class or without variance; for the C-index, the jackknife's error on the scale of log-odds with Student's",
        "quantile, and an exact binomial interval without error. 'Own scale' is the normal interval of the same variance.",
        "A bootstrap was not taken: of a sample with an AUC of 1 every resample has 1 too.",
        f"A share of 95 % of as many samples has a standard error of {100 * (0.95 * 0.05 / samples) ** 0.5:.1f} %.",
        "",
    ]


def _of_areas(samples: int) -> list[str]:
    rng = np.random.default_rng(0)
    rows = [
        "| positive / negative | true AUC | own scale | reported | width, own scale | width, reported |",
        "|---|" + "---|" * 5,
    ]
    for n_positive, n_negative in CLASSES:
        labels = np.repeat([1, 0], [n_positive, n_negative])
        for truth in AREAS:
            apart = float(norm.ppf(truth)) * 2**0.5
            drawn = [auc(labels, rng.normal(size=labels.size) + apart * labels) for _ in range(samples)]
            cells = _cells(truth, [_own_scale(found.value, found.variance**0.5) for found in drawn], drawn)
            rows.append(f"| {n_positive} / {n_negative} | {truth} | {cells} |")
    return rows


def _of_c(samples: int) -> list[str]:
    rng = np.random.default_rng(1)
    rows = [
        "| patients | events, mean | true C | own scale | reported | width, own scale | width, reported |",
        "|---|" + "---|" * 6,
    ]

    def draw(n: int, log_hazard: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        risk = rng.normal(size=n)
        time, censored = rng.exponential(np.exp(-log_hazard * risk)), rng.exponential(2.0, n)
        return np.minimum(time, censored), time <= censored, risk

    for log_hazard in LOG_HAZARDS:
        truth = concordance(*draw(4000, log_hazard)).c_index.value
        for n in PATIENTS:
            cohorts = [draw(n, log_hazard) for _ in range(samples)]
            # an event while another is under observation is needed; without one there is no index
            found = [concordance(*cohort) for cohort in cohorts if (cohort[1] & (cohort[0] < cohort[0].max())).any()]
            events = np.mean([one.n_events for one in found])
            own = [_own_scale(one.c_index.value, one.standard_error) for one in found]
            rows.append(f"| {n} | {events:.1f} | {truth:.3f} | {_cells(truth, own, [one.c_index for one in found])} |")
    return rows


def _own_scale(value: float, error: float) -> Estimate:
    return Estimate(value, max(value - Z * error, 0.0), min(value + Z * error, 1.0))


def _cells(truth: float, *intervals: list[Estimate] | list[Auc]) -> str:
    covered = [np.mean([one.lower <= truth <= one.upper for one in found]) for found in intervals]
    widths = [np.median([one.upper - one.lower for one in found]) for found in intervals]
    return " | ".join([*(f"{100 * share:.1f} %" for share in covered), *(f"{width:.2f}" for width in widths)])


if __name__ == "__main__":
    main()

"""The figures that need data of the patients: the flow chart and Figure 5."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pdl1es.errors import Refusal
from training.analysis.attention import held_out_rows
from training.attention import AttentionSummary, Portrait, portrait
from training.cohort.case import CaseSource, PreparationSettings, read_case
from training.cohort.prepare import COHORT_NAMES
from training.cohort.prepared import SPLITS as ALL_SPLITS
from training.cohort.prepared import PreparedCohort
from training.cohort.volumes import VolumeError
from training.figures.attention import attention_figure
from training.figures.flow_chart import FlowChart, flow_chart_figure
from training.network import FusionNetwork
from training.progress import Progress
from training.reporting.figures import Drawn
from training.scoring.scored_cohort import ScoredCohort
from training.statistics.estimability import NotEstimable, estimated


def flow_chart(chart: FlowChart) -> dict[str, Drawn]:
    """Draw the patients' way from screening to cohorts."""
    return {
        "supplement-1-flow-chart": Drawn(
            "Supplementary Figure 1: patients", "From the table to the cohorts.", flow_chart_figure(chart)
        )
    }


def flow_chart_of(prepared: PreparedCohort, scored: ScoredCohort) -> dict[str, Drawn]:
    """Draw the flow chart with the division that was trained on; empty where the manifest has no counts.

    Parameters
    ----------
    prepared
        The cohort, whose manifest counts screened patients and exclusions.
    scored
        The same with the division that was trained on.

    Returns
    -------
    dict[str, Drawn]
    """
    counts = prepared.manifest.get("flow_chart")
    if not counts:
        return {}
    split = scored.cases["split"]
    cohorts = [(COHORT_NAMES[name], int((split == name).sum())) for name in ALL_SPLITS if (split == name).any()]
    if split.isna().any():
        cohorts.append(("Not divided", int(split.isna().sum())))
    exclusions = tuple((str(reason), int(count)) for reason, count in counts["exclusions"])
    chart = estimated(FlowChart, int(counts["screened"]), exclusions, tuple(cohorts))
    return {} if isinstance(chart, NotEstimable) else flow_chart(chart)


def figure_5(
    scored: ScoredCohort,
    network: FusionNetwork,
    sources: Mapping[str, CaseSource],
    settings: PreparationSettings,
    summary: AttentionSummary | NotEstimable,
    progress: Progress | None = None,
) -> dict[str, Drawn]:
    """Draw Figure 5 of two patients that the network was not fitted on: one scored high and one low, both rightly.

    Empty where there are no such patients, or their images cannot be read.

    Parameters
    ----------
    scored
        The cohort's scores.
    network
        With a deep part.
    sources
        Where the images lie, by case_id.
    settings
        By which they are read.
    summary
        Attention of many patients, for the caption.
    progress
        Called with the number of patients drawn and in all.

    Returns
    -------
    dict[str, Drawn]
        Empty where there is no such pair of patients.
    """
    rows = held_out_rows(scored)
    label = scored.cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)
    choices = (("high", 1.0, 0.9), ("low", 0.0, 0.1))
    portraits: list[Portrait] = []
    for name, wanted, share in choices:
        if progress is not None:
            progress("maps of Figure 5", len(portraits), len(choices))
        known = [row for row in rows if label[row] == wanted and scored.cases["case_id"][row] in sources]
        if not known:
            return {}
        ranked = sorted(known, key=lambda row: (scored.signature[row], row))
        # not the most extreme patient, who is most likely an odd case
        row = ranked[round(share * (len(ranked) - 1))]
        try:
            volume = read_case(sources[scored.cases["case_id"][row]], settings).resampled().volume
        except (Refusal, VolumeError, OSError):
            return {}
        portraits.append(portrait(f"{name} PD-L1ES ({scored.signature[row]:.2f})", volume, network))
    if progress is not None:
        progress("maps of Figure 5", len(portraits), len(choices))
    where = ""
    if isinstance(summary, AttentionSummary):
        where = (
            f" Over {summary.n} patients, {100 * summary.share['border']:.0f} % of the attention lies within 6 pixels of the "
            f"contour, which is {100 * summary.area['border']:.0f} % of the patch."
        )
    return {
        "figure-5": Drawn(
            "Figure 5: where the network looks",
            f"Patch with contour; Grad-CAM at {portraits[0].attention.block}, what raised the score; the two radiomic "
            f"features that the paper names, voxel by voxel in a 3 × 3 neighbourhood.{where}",
            attention_figure(portraits),
        )
    }

"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from training.attention import AttentionSummary
from training.controls.retest import Retest
from training.expression.results import Evaluation
from training.known_truth.gates import Gate
from training.known_truth.shortfall import Shortfall
from training.progression.results import Prognosis
from training.reporting.figures import Rendered
from training.statistics.estimability import NotEstimable

DEMONSTRATION: Final = "Trained on synthetic phantoms: a demonstration, not for any decision on a patient."


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What a report is made of; what was not run is None or empty.

    Attributes
    ----------
    title
        Of the page.
    warning
        Printed at its head, as that the cohort is synthetic; None for patients' data.
    provenance
        What was evaluated: model, digests, versions, seeds. No path, no patient.
    evaluation, prognosis, retest
        Results.
    redivisions
        Area by cohort for each random re-division.
    gates
        What the synthetic cohort's known truth says of the model.
    shortfalls
        Where the area is lost that this truth allows, by cohort.
    attention
        Where the network looks.
    figures
        By file name.
    """

    title: str
    warning: str | None
    provenance: Mapping[str, str]
    evaluation: Evaluation | None
    prognosis: Prognosis | None
    retest: Retest | None = None
    redivisions: Sequence[Mapping[str, float]] = ()
    gates: Sequence[Gate] = ()
    shortfalls: Mapping[str, Shortfall | NotEstimable] = field(default_factory=dict)
    attention: AttentionSummary | NotEstimable | None = None
    figures: Mapping[str, Rendered] = field(default_factory=dict)

"""A replicated signature beside tumour volume alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from training.replication.signature import RadiomicSignature
from training.statistics.classification import Classification, classify
from training.statistics.concordance import ConcordanceComparison, compare_concordance
from training.statistics.discrimination import AucComparison, compare_paired
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.prognosis import GroupComparison, compare_groups


@dataclass(frozen=True, slots=True)
class SignatureOutcomes:
    """What is known of the patients; NaN where it is not. All of shape (N,).

    Attributes
    ----------
    label
        1 for high PD-L1 expression.
    pfs_days, progressed
        Follow-up.
    """

    label: NDArray[np.float64]
    pfs_days: NDArray[np.float64]
    progressed: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SignatureEvaluation:
    """How a signature does on a cohort.

    Attributes
    ----------
    patients, scored
        Numbers.
    expression
        Area under the curve for high PD-L1 expression: the signature against volume.
    progression
        C-index for progression: the signature against volume.
    volume_inverted
        Whether a smaller volume counts as higher expression here: the direction in which its area is at least 0.5.
    groups_by_expression, groups_by_progression
        At the published cut-off.
    volume_correlation
        Spearman's rank correlation with tumour volume: of the score, and of each feature by name.
    """

    patients: int
    scored: int
    expression: AucComparison | NotEstimable
    progression: ConcordanceComparison | NotEstimable
    volume_inverted: bool
    groups_by_expression: Classification | NotEstimable
    groups_by_progression: GroupComparison | NotEstimable
    volume_correlation: dict[str, float]


def evaluate_signature(
    signature: RadiomicSignature,
    features: NDArray[np.float64],
    linear_predictor: NDArray[np.float64],
    volume_ml: NDArray[np.float64],
    outcomes: SignatureOutcomes,
) -> SignatureEvaluation:
    """Evaluate a replicated signature; nothing is fitted on the cohort.

    Parameters
    ----------
    signature
        What was computed.
    features
        float64, shape (N, features); NaN where a patient failed.
    linear_predictor, volume_ml
        float64, shape (N,).
    outcomes
        Of the patients.

    Returns
    -------
    SignatureEvaluation
        What the cohort does not hold is a `NotEstimable` with its reason.
    """
    scored = np.isfinite(linear_predictor) & (volume_ml > 0)
    labelled = scored & np.isfinite(outcomes.label)
    followed = scored & np.isfinite(outcomes.pfs_days) & np.isfinite(outcomes.progressed)
    volume = np.log(np.where(volume_ml > 0, volume_ml, np.nan))
    score, label = linear_predictor[labelled], outcomes.label[labelled]
    expression: AucComparison | NotEstimable = NotEstimable("no scored patient has a label")
    if label.size:
        expression = estimated(compare_paired, label, score, volume[labelled])
    inverted = not isinstance(expression, NotEstimable) and expression.second.value < 0.5
    if inverted:
        expression = estimated(compare_paired, label, score, -volume[labelled])
    time, event = outcomes.pfs_days[followed], outcomes.progressed[followed]
    unfollowed = NotEstimable("no scored patient has a follow-up")
    cut = signature.cut_off
    without = NotEstimable("the publication gives no cut-off")
    by_expression: Classification | NotEstimable = without
    by_progression: GroupComparison | NotEstimable = without
    if cut is not None:
        judged = linear_predictor
        if cut.on == "score" and signature.link == "logit":
            judged = 1 / (1 + np.exp(-linear_predictor))
        if signature.endpoint_kind == "binary":
            by_expression = estimated(classify, label, judged[labelled], cut.value)
        by_progression = (
            estimated(compare_groups, time, event, judged[followed] > cut.value) if time.size else unfollowed
        )
    progression: ConcordanceComparison | NotEstimable = unfollowed
    if time.size:
        progression = estimated(compare_concordance, time, event, linear_predictor[followed], volume[followed])
    return SignatureEvaluation(
        patients=len(scored),
        scored=int(scored.sum()),
        expression=expression,
        progression=progression,
        volume_inverted=inverted,
        groups_by_expression=by_expression,
        groups_by_progression=by_progression,
        volume_correlation={
            name: _rank_correlation(values[scored], volume[scored])
            for name, values in (
                ("score", linear_predictor),
                *((name, features[:, column]) for column, name in enumerate(signature.feature_names)),
            )
        },
    )


def _rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)

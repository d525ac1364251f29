"""The summary of a report: the estimates with what unsettles them, then the score, then how many warnings follow.

What can turn a result over stands beside it, before any number: unknown clinical values, other contours, single slices, a tumour unlike those of the
training. Where the groups are withheld, the reason stands here and nowhere else.
"""

from __future__ import annotations

from typing import Final

from pdl1es.assessment import Assessment, group_of, variables_in_words
from pdl1es.model.metadata import CutOff
from pdl1es.report import wording
from pdl1es.score_warning import ScoreWarning

EXPRESSION: Final = "Estimated PD-L1 expression"
RISK: Final = "Estimated risk of progression under first-line pembrolizumab"
UNLIKE: Final = "The tumour is unlike those that the model was trained on."


def summary_sentences(assessment: Assessment) -> tuple[str, ...]:
    """Return the summary.

    Parameters
    ----------
    assessment
        What is reported.

    Returns
    -------
    tuple of str
        Whole sentences: the estimates or why they are withheld, the score, the number of the warnings that follow.
    """
    model = assessment.model
    return (
        *estimate_sentences(assessment),
        f"{wording.score_name(model)}: {wording.score_text(assessment.prediction.score)}{_cut_offs(assessment)}.",
        _count(assessment),
    )


def estimate_sentences(assessment: Assessment) -> tuple[str, ...]:
    """Return the summary's first sentences, before any number: the estimates, or why they are withheld.

    Parameters
    ----------
    assessment
        What is reported.

    Returns
    -------
    tuple of str
        Each estimate with what unsettles it.
    """
    return tuple(_withheld(assessment) if assessment.withheld is not None else _estimates(assessment))


def further_warnings(assessment: Assessment) -> tuple[ScoreWarning, ...]:
    """Return the warnings that the summary does not say in full: all but those that withhold the groups.

    Parameters
    ----------
    assessment
        What is reported.

    Returns
    -------
    tuple of ScoreWarning
        In the order in which a reader should see them. The summary names their number.
    """
    return tuple(warning for warning in assessment.warnings if warning.effect != "withhold_group")


def unsettled(assessment: Assessment, cut_off: CutOff) -> str | None:
    """Return what puts a score on the other side of a cut-off.

    Parameters
    ----------
    assessment
        With the scores of the slices, over unknown clinical values, and of other contours where they were asked for.
    cut_off
        On the score.

    Returns
    -------
    str or None
        As ``"a contour 1 mm smaller gives low"``; None where nothing that was tried does.
    """
    prediction = assessment.prediction
    own = group_of(prediction.score, cut_off)
    found = []
    stability = assessment.contour_stability
    if stability is not None:
        scored = [variant for variant in stability.variants if variant.score is not None]
        other = [variant for variant in scored if group_of(variant.score, cut_off) != own]
        if len(other) == 1:
            found.append(f"{_contour(other[0].contour)} gives {_short(_other(cut_off, own))}")
        elif other:
            found.append(
                f"{len(other)} of {len(scored)} contours that differ by 1 mm give {_short(_other(cut_off, own))}"
            )
    if prediction.imputed_range is not None and any(
        group_of(score, cut_off) != own for score in prediction.imputed_range
    ):
        found.insert(
            0,
            f"other values of {variables_in_words(prediction.imputed)}, not known here, give {_short(_other(cut_off, own))}",
        )
    scores = [float(score) for score in prediction.slice_scores]
    count = sum(group_of(score, cut_off) != own for score in scores)
    if count:
        found.append(
            f"{count} of the {len(scores)} slices alone {'gives' if count == 1 else 'give'} {_short(_other(cut_off, own))}"
        )
    return "; ".join(found) or None


def _estimates(assessment: Assessment) -> list[str]:
    model = assessment.model
    said = []
    for name, group, cut_off in (
        (EXPRESSION, assessment.expression_group, model.expression_cut_off),
        (RISK, assessment.risk_group, model.progression_cut_off),
    ):
        reason = unsettled(assessment, cut_off)
        said.append(f"{name}: {_short(group or '')}{f', borderline: {reason}' if reason else ''}.")
    if any(warning.code == "UNLIKE_TRAINING" for warning in assessment.warnings):
        said.append(UNLIKE)
    return said


def _withheld(assessment: Assessment) -> list[str]:
    reasons = [warning.message for warning in assessment.warnings if warning.effect == "withhold_group"]
    return [
        "Estimated PD-L1 expression and risk of progression: withheld.",
        *(f"Reason: {reason.rstrip('.')}." for reason in reasons),
    ]


def _cut_offs(assessment: Assessment) -> str:
    """Return the cut-offs behind the score; none where the groups are withheld."""
    if assessment.withheld is not None:
        return ""
    model = assessment.model
    expression, risk = (wording.score_text(cut.value) for cut in (model.expression_cut_off, model.progression_cut_off))
    return f" (cut-off of expression {expression}, of risk {risk})"


def _count(assessment: Assessment) -> str:
    count = len(further_warnings(assessment))
    kind = "other warning" if assessment.withheld is not None else "warning"
    return f"{count or 'No'} {kind}{'' if count == 1 else 's'}{' below' if count else ''}."


def _other(cut_off: CutOff, group: str | None) -> str:
    return cut_off.below if group == cut_off.above else cut_off.above


def _short(group: str) -> str:
    """Return a group without the words of its question: ``"high expression"`` is ``"high"``."""
    for end in (" pd-l1 expression", " expression", " risk"):
        if group.lower().endswith(end):
            return group[: -len(end)]
    return group


def _contour(name: str) -> str:
    """Return one of `grid.contours`' variants as a reader would say it."""
    sizes = {"eroded by 1 mm": "a contour 1 mm smaller", "dilated by 1 mm": "a contour 1 mm larger"}
    return sizes.get(name, f"a contour {name}")

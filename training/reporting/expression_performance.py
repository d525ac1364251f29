"""The page's tables of how far PD-L1ES can be trusted: intervals, added value, fairness, sample size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from training.expression.results import (
    EXTERNAL,
    GATE,
    HELD_OUT,
    DevelopmentReach,
    Evaluation,
    NestedCrossValidation,
    ScorePerformance,
)
from training.reporting.added_value_table import added_value_rows
from training.reporting.tables import Table
from training.statistics.decision_curves import NetBenefitDifference
from training.statistics.estimability import NotEstimable
from training.statistics.fairness import Fairness, GroupPerformance, odds_of_errors
from training.statistics.validation_sample_size import ValidationSize
from training.statistics.wording import interval, number, p_value, said

_SHOWN_THRESHOLDS: Final = (0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class ExpressionPerformanceTables:
    """The page's section.

    Attributes
    ----------
    added
        By cohort, what PD-L1ES adds to the clinical variables; a sentence where nothing can be said.
    distances
        Brier score, ICI, E50 and E90 by cohort.
    cut_off
        The operating point with its interval, in a sentence.
    fairness
        A row per group, folded on the page.
    net_benefit
        A row per cohort and rival, folded.
    development
        What the training patients allow, in a sentence.
    validation
        Patients that a validation needs, by cohort.
    nested
        Nested cross-validation in sentences.
    """

    added: Table | str
    distances: Table
    cut_off: str
    fairness: Table
    net_benefit: Table
    development: str
    validation: Table
    nested: str


def expression_performance_tables(evaluation: Evaluation) -> ExpressionPerformanceTables:
    """Put `Evaluation.performance` and its companions into tables."""
    found = evaluation.performance
    return ExpressionPerformanceTables(
        added=_added(found),
        distances=Table.of(
            ("Cohort", "Brier (95 % CI)", "ICI (95 % CI)", "E50 (95 % CI)", "E90 (95 % CI)"),
            (
                (
                    name,
                    said(own.brier, lambda b: interval(b, 3)),
                    *(
                        [said(own.smooth, str), "", ""]
                        if isinstance(own.smooth, NotEstimable)
                        else [interval(part, 3) for part in (own.smooth.ici, own.smooth.e50, own.smooth.e90)]
                    ),
                )
                for name, own in found.items()
            ),
        ),
        cut_off=said(
            evaluation.operating_point_interval,
            lambda e: (
                f"{evaluation.operating_point_source}: {interval(e, 3)}, by bootstrap of these patients "
                f"({evaluation.settings.resamples} resamples, seed {evaluation.settings.seed})."
            ),
        ),
        fairness=_fairness(evaluation),
        net_benefit=_net_benefit(evaluation),
        development=said(evaluation.development, _development),
        validation=_validation(found),
        nested=_nested(evaluation.nested),
    )


def _added(found: dict[str, ScorePerformance]) -> Table | str:
    rows: list[Sequence[str]] = []
    for name, own in found.items():
        if isinstance(own.added, NotEstimable):
            rows.append((name, said(own.added, str), ""))
            continue
        cells = added_value_rows(own.added, "auc", "AUC")
        rows += [(name if k == 0 else "", what, value) for k, (what, value) in enumerate(cells)]
    return Table.of(("Cohort", "", "Found"), rows) if rows else "There is no cohort on which nothing was chosen."


def _fairness(evaluation: Evaluation) -> Table:
    head = (
        "Cohort",
        "Group",
        "n (high)",
        "Missed, 1 - sensitivity (95 % CI)",
        "False alarms, 1 - specificity (95 % CI)",
        "Observed / expected",
        "In the large (95 % CI)",
        "Slope (95 % CI)",
    )
    rows: list[Sequence[str]] = []
    for cohort, variables in evaluation.fairness.items():
        if cohort not in (HELD_OUT, GATE, EXTERNAL):
            continue
        for key, found in variables.items():
            if isinstance(found, NotEstimable):
                rows.append((cohort, key, said(found, str), *[""] * 5))
                continue
            rows += [(cohort, f"{found.name}: {group.level}", *_group(group)) for group in found.groups]
            rows.append((cohort, f"{found.name}: do they differ?", *_differ(found)))
    return Table.of(head, rows)


def _group(group: GroupPerformance) -> tuple[str, ...]:
    rates = odds_of_errors(group)
    missed, alarms = (said(rates, str), "") if isinstance(rates, NotEstimable) else (interval(r) for r in rates)
    calibration = group.calibration
    return (
        f"{group.n} ({group.n_positive})",
        missed,
        alarms,
        said(calibration, lambda c: number(c.observed_to_expected)),
        "" if isinstance(calibration, NotEstimable) else interval(calibration.in_the_large),
        "" if isinstance(calibration, NotEstimable) else interval(calibration.slope),
    )


def _differ(found: Fairness) -> tuple[str, ...]:
    return (
        f"{found.unknown} unknown" if found.unknown else "",
        f"{number(found.false_negative_difference)}, {said(found.false_negative_p, p_value)}",
        f"{number(found.false_positive_difference)}, {said(found.false_positive_p, p_value)}",
        said(found.calibration_test, lambda test: f"calibration {p_value(test.p_value)}"),
        "",
        "",
    )


def _net_benefit(evaluation: Evaluation) -> Table:
    head = ("Cohort", "PD-L1ES less", *(f"above {threshold:.0%} (95 % CI)" for threshold in _SHOWN_THRESHOLDS))
    rows: list[Sequence[str]] = []
    for name in evaluation.performance:
        for rival, found in evaluation.cohorts[name].net_benefit.items():
            if not isinstance(found, NetBenefitDifference):
                rows.append((name, rival, said(found, str), *[""] * (len(_SHOWN_THRESHOLDS) - 1)))
                continue
            places = [int(abs(found.thresholds - threshold).argmin()) for threshold in _SHOWN_THRESHOLDS]
            rows.append(
                (
                    name,
                    rival,
                    *(
                        f"{found.difference[k]:+.3f} ({number(float(found.lower[k]), 3)} to {number(float(found.upper[k]), 3)})"
                        for k in places
                    ),
                )
            )
    return Table.of(head, rows)


def _nested(found: NestedCrossValidation | NotEstimable | None) -> str:
    if found is None:
        return "Not asked for; see `--nested REPEATS`."
    if isinstance(found, NotEstimable):
        return said(found, str)
    slopes = [each.slope.value for each in found.calibrations if not isinstance(each, NotEstimable)]
    spread = (
        f"over their seeds ({found.seeds[0]} to {found.seeds[-1]}) SD {number(found.standard_deviation, 3)}, from "
        f"{number(found.lowest, 3)} to {number(found.highest, 3)}"
        if len(found.areas) > 1
        else f"one seed ({found.seeds[0]}), so that no spread is known"
    )
    strengths = "; ".join(f"{part} {_range(chosen[part] for chosen in found.strengths)}" for part in found.strengths[0])
    return (
        f"AUC {number(found.mean, 3)}, mean of {len(found.areas)} division{'' if len(found.areas) == 1 else 's'} of {found.n} "
        f"labelled patients ({found.n_positive} of high expression); {spread}. The first alone: {interval(found.areas[0])}. "
        f"Calibration slope {number(sum(slopes) / len(slopes)) if slopes else 'not estimable'}, mean. In the "
        f"{len(found.selected)} outer folds {_range(found.selected)} features were selected, and ridge strengths chosen: "
        f"{strengths}. {_what_is_nested(found)}"
    )


def _range(values: Iterable[float]) -> str:
    given = list(values)
    low, high = min(given), max(given)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _what_is_nested(found: NestedCrossValidation) -> str:
    """Say what was fitted anew in each fold, what was not, and why."""
    inside = "Imputation, selection with its filters, z-scores and ridge strengths are fitted anew in every fold"
    if found.with_network:
        return (
            f"{inside}: all of this recipe that looks at a label. The network is not: it was pretrained once, without any label. "
            "Its pretraining may have seen images of these patients, never a label of theirs."
        )
    if found.recipe is None:
        return (
            f"{inside}, for radiomics and clinical variables by the recipe label-free's own settings. The model takes no part: "
            "this says what the linear part is worth on these patients, not what the model is."
        )
    if found.recipe == "label-free":
        return f"{inside}. The run did not fit PD-L1ES, so that no network takes part."
    trainings = len(found.selected)
    cost = (
        ""
        if found.network_seconds is None
        else f"; one took {found.network_seconds:.0f} s here, all would take {found.network_seconds * trainings / 3600:.1f} h"
    )
    return (
        f"{inside}, by the run's own settings, and a ridge regression of radiomics and clinical variables takes the place of the "
        f"network's last layer. The network itself is not nested: the recipe paper trains it on the labels, so that it would "
        f"have to be trained {trainings} times{cost}. So this is not PD-L1ES's own performance: that is on 'Test', and its spread "
        "in the re-divisions."
    )


def _development(found: DevelopmentReach) -> str:
    if not found.parameters:
        return (
            f"The {found.n} training patients are too few to know even the overall share of high expression to within 0.05 "
            "(Riley et al., BMJ 2020; 368: m441)."
        )
    return (
        f"The {found.n} training patients, {found.n_positive} of them with high expression, allow an unpenalised regression "
        f"{found.parameters} candidate parameter{'' if found.parameters == 1 else 's'} for an AUC of {number(found.area)} "
        f"(Cox and Snell's R2 {number(found.cox_snell_r2, 3)}), by the criteria of Riley et al. (BMJ 2020; 368: m441). "
        "Radiomics has 1316 and the network millions: selection, penalties and patients that nothing was chosen on stand "
        "in for what is lacking."
    )


def _validation(found: dict[str, ScorePerformance]) -> Table:
    head = (
        "Cohort",
        "n",
        "needed",
        "for observed / expected within 0.2",
        "for a slope within 0.2",
        "for an AUC within 0.1",
        "for net benefit within 0.2",
    )
    return Table.of(head, ((name, str(own.n), *_sizes(own.needed)) for name, own in found.items()))


def _sizes(needed: ValidationSize | NotEstimable) -> tuple[str, ...]:
    if isinstance(needed, NotEstimable):
        return (said(needed, str), "", "", "", "")
    benefit = "" if needed.for_net_benefit is None else str(needed.for_net_benefit)
    each = (needed.for_observed_to_expected, needed.for_slope, needed.for_auc)
    return (str(needed.n), *(str(part) for part in each), benefit)

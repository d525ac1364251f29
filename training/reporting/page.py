"""``report.html``."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any, Final

from training.attention import AttentionSummary
from training.controls.retest import Retest
from training.expression.results import HELD_OUT, TEST, TRAINING, VALIDATION, Evaluation, ModelInCohort
from training.known_truth.gates import Gate
from training.known_truth.shortfall import FACTOR_OF, Shortfall
from training.progression.results import Grouping, Prognosis, RiskModelResult
from training.reporting.content import ReportContent
from training.reporting.figures import Rendered
from training.reporting.paper import not_in_this_report, paper_rows
from training.reporting.paper_values import PaperRow
from training.scoring.predictions import BAYES, SIGNATURE, VOLUME
from training.statistics.concordance import Concordance, ConcordanceComparison
from training.statistics.cox import CoxModel, CoxTerm, ProportionalHazards
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import SIGNATURE as COX_SIGNATURE
from training.statistics.prognosis import GroupComparison, SubgroupComparison
from training.statistics.table_one import Categorical, TableOne
from training.statistics.wording import days, interval, number, p_value, said

DIRECTION: Final = (
    "In the paper a higher PD-L1ES goes with shorter progression-free survival, which its authors call contrary to "
    "common sense. Here the direction is whatever the data give; it is printed with every cut-off."
)


def report_page(content: ReportContent) -> str:
    """Return the page: no script, no font, no image from elsewhere."""
    sections = [
        *(
            [_section("The paper beside this cohort", _paper(content))]
            if content.evaluation or content.prognosis
            else []
        ),
        *([_section("Gates on the known truth", _gates(content.gates))] if content.gates else []),
        *(
            [_section("Where the attainable area is lost", _shortfalls(content.shortfalls))]
            if content.shortfalls
            else []
        ),
        *(_evaluation_sections(content.evaluation) if content.evaluation else []),
        *(_prognosis_sections(content.prognosis) if content.prognosis else []),
        *([_section("Test and retest", _retest(content.retest))] if content.retest else []),
        *([_section("Where the network looks", said_html(content.attention, _attention))] if content.attention else []),
        *(
            [_section("Figures", "".join(map(_figure, content.figures, content.figures.values())))]
            if content.figures
            else []
        ),
        _section("What was evaluated", _table(("", ""), content.provenance.items())),
    ]
    warning = f'<p class="warning">{escape(content.warning)}</p>' if content.warning else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(content.title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{escape(content.title)}</h1>{warning}\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def _rows(content: ReportContent) -> tuple[PaperRow, ...]:
    return paper_rows(
        content.evaluation, content.prognosis, content.redivisions, tuple(content.figures), content.attention
    )


def _paper(content: ReportContent) -> str:
    missing = "".join(
        f"<p>{escape(sentence)}</p>" for sentence in not_in_this_report(content.evaluation, content.prognosis)
    )
    return (
        "<p>Each value that Tian et al. (Theranostics 2021; 11(5): 2098–2107) print, and the same analysis here. "
        "Intervals are 95 %.</p>"
        + _table(("Analysis", "Paper", "This cohort"), [(row.what, row.paper, row.cohort) for row in _rows(content)])
        + missing
        + f"<p>{escape(DIRECTION)}</p>"
    )


def _gates(gates: Sequence[Gate]) -> str:
    rows = [
        (gate.claim, gate.found, {True: "holds", False: "does not hold", None: "not tested"}[gate.holds])
        for gate in gates
    ]
    return _table(("Claim", "Found", ""), rows)


def _shortfalls(shortfalls: Mapping[str, Shortfall | NotEstimable]) -> str:
    found = {name: one for name, one in shortfalls.items() if isinstance(one, Shortfall)}
    missing = "".join(
        f"<p>{escape(name)}: {escape(said(one, str))}</p>" for name, one in shortfalls.items() if name not in found
    )
    areas = [
        (
            name,
            str(one.n),
            interval(one.as_added),
            interval(one.best_added),
            *(interval(area) for area in one.knowing.values()),
            interval(one.bayes),
        )
        for name, one in found.items()
    ]
    seen = [
        (name, part, *(number(value) for value in by_factor.values()))
        for name, one in found.items()
        for part, by_factor in one.correlation.items()
    ]
    factors = tuple(FACTOR_OF.values())
    return (
        "<p>The score is a sum of three parts, and the truth of three factors, each visible to one part. 'Best added': the "
        "same parts with the weights nearest to the Bayes logit; what lies between it and the score is lost in the weights. "
        "'Knowing': one part replaced by its factor; what that gains is lost in the part.</p>"
        + _table(
            ("Cohort", "n", "AUC as it is", "Best added", *(f"Knowing the {factor}" for factor in factors), "Bayes"),
            areas,
        )
        + "<h3>Correlation of each part with each factor</h3>"
        + _table(("Cohort", "Part", *factors), seen)
        + missing
    )


def _evaluation_sections(evaluation: Evaluation) -> list[str]:
    rows = [
        (
            name,
            model,
            str(found.n),
            str(found.unscored) if found.unscored else "",
            said(found.auc, interval),
            _against(found),
        )
        for name, cohort in evaluation.cohorts.items()
        for model, found in cohort.models.items()
        if found.n  # controls are made of some cohorts only
    ]
    discrimination = _notes(evaluation) + _table(
        ("Cohort", "Model", "n", "no score", "AUC (95 % CI)", "PD-L1ES less this model"), rows
    )
    point = (
        f"<p>Cut-off {number(evaluation.cut_off, 3)} ({escape(evaluation.cut_off_source)}).</p>"
        if isinstance(evaluation.cut_off, float)
        else f"<p>{escape(said(evaluation.cut_off, str))}</p>"
    )
    shares = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value", "accuracy")
    at_cut_off = [
        (
            name,
            *(
                [said(cohort.classification, str), *[""] * 4]
                if isinstance(cohort.classification, NotEstimable)
                else [interval(getattr(cohort.classification, share)) for share in shares]
            ),
        )
        for name, cohort in evaluation.cohorts.items()
    ]
    calibrations = [
        (
            name,
            said(found.calibration, lambda c: interval(c.slope)),
            said(found.calibration, lambda c: interval(c.in_the_large)),
            said(found.calibration, lambda c: number(c.observed_to_expected)),
            said(found.calibration, lambda c: f"{c.brier:.3f} ({number(c.scaled_brier)})"),
        )
        for name, cohort in evaluation.cohorts.items()
        for found in [cohort.models[SIGNATURE]]
    ]
    recalibrated = [
        (
            name,
            said(found, lambda r: said(r.in_the_large, lambda x: f"intercept {number(x.intercept)}")),
            said(found, lambda r: said(r.slope, lambda x: f"intercept {number(x.intercept)}, slope {number(x.slope)}")),
            said(found, lambda r: number(r.brier, 3)),
            said(found, lambda r: said(r.brier_in_the_large, lambda b: number(b, 3))),
            said(found, lambda r: said(r.brier_slope, lambda b: number(b, 3))),
        )
        for name, found in evaluation.recalibration.items()
    ]
    sections = [
        _section("Discrimination", discrimination),
        _section(
            "At the cut-off for high expression",
            point + _table(("Cohort", "Sensitivity", "Specificity", "PPV", "NPV", "Accuracy"), at_cut_off),
        ),
        _section(
            "Calibration",
            _table(("Cohort", "Slope", "In the large", "Observed / expected", "Brier (scaled)"), calibrations)
            + "<h3>Recalibration for these patients</h3>"
            + _table(
                ("Cohort", "In the large", "With slope", "Brier", "Brier, in the large", "Brier, with slope"),
                recalibrated,
            )
            + "<p>Brier scores after recalibration are cross-fitted by ten folds.</p>",
        ),
    ]
    if evaluation.controls:
        disturbed = [
            (
                control,
                name,
                said(found, lambda d: str(d.n)),
                said(
                    found,
                    lambda d: f"{d.mean_change:+.3f} (SD {number(d.standard_deviation, 3)}), {p_value(d.p_value)}",
                ),
                said(found, lambda d: number(d.correlation)),
            )
            for control, cohorts in evaluation.controls.items()
            for name, found in cohorts.items()
            if evaluation.cohorts[name].models[control].n
        ]
        sections.append(
            _section(
                "Controls: what disturbed inputs do to PD-L1ES",
                "<p>Their areas stand above. A score that keeps its area when the tumour's voxels are shuffled does not "
                "need texture; one that keeps it on healthy lung does not need the tumour.</p>"
                + _table(("Control", "Cohort", "n", "Mean change", "Correlation with PD-L1ES"), disturbed),
            )
        )
    sections.append(_section("Table 1", said_html(evaluation.characteristics, _table_one)))
    return sections


def _notes(evaluation: Evaluation) -> str:
    """Say what flatters the models, and what the models beside them are."""
    fitted = [name for name, cohort in evaluation.cohorts.items() if cohort.fitted_here]
    chosen = [name for name in (VALIDATION, HELD_OUT) if name in evaluation.cohorts]
    models = {model for cohort in evaluation.cohorts.values() for model, found in cohort.models.items() if found.n}
    sentences = ["The last column compares the two models on the patients that both scored."]
    if fitted:
        sentences.append(
            f"Fitted on patients of: {', '.join(fitted)}; the numbers there say how well the models remember."
        )
    if chosen:
        sentences.append(
            "Validation chose the best epoch and the cut-off for high expression, so that the numbers of "
            f"{' and of '.join(chosen)} flatter the models too"
            + ("; only Test is test." if TEST in evaluation.cohorts else ".")
        )
    if VOLUME in models:
        sentences.append(
            "Volume is tumour volume alone, fitted on Training."
            if TRAINING in evaluation.cohorts
            else "Volume is tumour volume alone; nothing is fitted, and a larger one counts as higher expression, so that an "
            "area below 0.50 says that smaller tumours express more."
        )
    if BAYES in models:
        sentences.append("Bayes is the score that knows the truth of a synthetic cohort.")
    return f"<p>{escape(' '.join(sentences))}</p>"


def _prognosis_sections(prognosis: Prognosis) -> list[str]:
    left = "; ".join(f"{n} {reason}" for reason, n in prognosis.left_out.items() if n)
    head = (
        f"<p>{prognosis.n} patients, {prognosis.n_events} progressed; median follow-up "
        f"{escape(said(prognosis.follow_up, lambda e: interval(e, 0)))} days"
        + (f"; left out: {escape(left)}" if left else "")
        + ".</p>"
    )
    groups = [
        *((f"PD-L1ES above {number(g.cut_off)}, {g.source}", g) for g in prognosis.groupings.values()),
        ("Measured PD-L1, high against low", prognosis.expression),
        *(
            (
                f"{_words(name).capitalize()}, {v.upper} against {v.lower}" if v.n else _words(name).capitalize(),
                v.groups,
            )
            for name, v in prognosis.clinical_variables.items()
        ),
        *(
            (f"{name} model above its cut-off", found if isinstance(found, NotEstimable) else found.grouping)
            for name, found in (("Clinical", prognosis.clinical), ("Fusion", prognosis.fusion))
        ),
    ]
    cox = [
        *_cox_rows("alone", prognosis.univariable, prognosis.univariable_hazards),
        *_cox_rows("PD-L1ES by group, with", prognosis.with_each, prognosis.with_each_hazards, named=True),
        *_cox_rows(
            "PD-L1ES as a number, with",
            prognosis.with_each_continuous,
            prognosis.with_each_continuous_hazards,
            named=True,
        ),
        *_cox_rows("all together", {"": prognosis.multivariable}, {"": prognosis.multivariable_hazards}),
        *_cox_rows("clinical Cox model", {"": _model_of(prognosis.clinical)}, {"": _hazards_of(prognosis.clinical)}),
        *_cox_rows("fusion Cox model", {"": _model_of(prognosis.fusion)}, {"": _hazards_of(prognosis.fusion)}),
    ]
    indices = [
        ("PD-L1ES as a number", said(prognosis.continuous_concordance, _c_index)),
        ("clinical model", said(prognosis.clinical, lambda found: _c_index(found.fit.concordance))),
        ("fusion model", said(prognosis.fusion, lambda found: _c_index(found.fit.concordance))),
        ("fusion less clinical model", said(prognosis.fusion_against_clinical, _gain)),
        ("fusion model less PD-L1ES", said(prognosis.fusion_against_signature, _gain)),
    ]
    sections = [
        _section(
            "Progression-free survival",
            head
            + "<h3>Groups</h3>"
            + f"<p>{escape(_SEARCHED)}</p>"
            + _table(_GROUP_HEAD, [row for name, found in groups for row in _group_rows(name, found)])
            + "<h3>Cox models, hazard ratio per unit</h3>"
            + f"<p>{escape(_HAZARDS)}</p>"
            + _table(_COX_HEAD, cox)
            + "<h3>Concordance</h3>"
            + f"<p>{escape(_IN_SAMPLE)}</p>"
            + _table(("", "C-index or difference (95 % CI)"), indices),
        )
    ]
    if prognosis.exported:
        sections.append(_section("The exported Cox models on these patients", _exported(prognosis)))
    return sections


_SEARCHED: Final = (
    "Upper group against the others. Where a cut-off was searched on these patients, hazard ratio, P and C-index of its "
    "groups are too good, and those of the clinical and the fusion model doubly so, since the models were fitted on these "
    "patients too. None is corrected here: the paper's table above has the P corrected for the search, and of the two "
    "models the P corrected for fit and search."
)
_HAZARDS: Final = (
    "The last column is the check of proportional hazards, of the variable and, where there are several, of all "
    "together; a small P speaks against the model. PD-L1ES by group is cut where X-tile found it on these patients, and "
    "clinical risk was fitted on them, so that their P values are too small."
)
_IN_SAMPLE: Final = (
    "Clinical and fusion model are measured on the patients that fitted them, and the fusion model has more to fit: their "
    "indices, and the gains with their P values, flatter them. On other patients expect a smaller gain, or none."
)
_CARRIED_OVER: Final = (
    "Linear predictor and cut-off are the exported file's; nothing was searched here. A calibration slope of 1 says that "
    "the model carries over, below 1 that it told its own patients further apart than these are. If these patients are the "
    "ones that fitted it, the slope is 1 by construction and says nothing."
)
_GROUP_HEAD: Final = (
    "Groups",
    "n, upper / lower",
    "Events",
    "Hazard ratio (95 % CI)",
    "P",
    "C-index (95 % CI)",
    "Median PFS, days",
    "Proportional hazards",
)
_COX_HEAD: Final = (
    "Model",
    "Variable",
    "n",
    "Events",
    "Coefficient",
    "Hazard ratio (95 % CI), Wald P",
    "Proportional hazards",
)


def _group_rows(
    name: str, found: Grouping | GroupComparison | SubgroupComparison | NotEstimable | None
) -> list[tuple[str, ...]]:
    """Return a row of all patients and, where they are known, one a treatment."""
    if isinstance(found, Grouping):
        rows = _group_rows(name, found.groups)
        if isinstance(found.by_treatment, SubgroupComparison):
            for treatment, groups in found.by_treatment.groups.items():
                rows += _group_rows(f"\N{EM SPACE}{treatment}", groups)
        return rows
    if not isinstance(found, GroupComparison):
        return [(name, said(found, str) if found else "all in one group", *[""] * 6)]
    return [
        (
            name,
            f"{found.upper.n} / {found.lower.n}",
            f"{found.upper.n_events} / {found.lower.n_events}",
            "no finite hazard ratio" if found.hazard_ratio is None else interval(found.hazard_ratio),
            "no event" if found.log_rank is None else f"log-rank {p_value(found.log_rank.test.p_value)}",
            said(found.concordance, _c_index),
            f"{days(found.upper.median)} / {days(found.lower.median)}",
            said(found.proportional_hazards, lambda test: p_value(test.overall.p_value)),
        )
    ]


def _cox_rows(
    title: str,
    models: Mapping[str, CoxModel | NotEstimable],
    hazards: Mapping[str, ProportionalHazards | NotEstimable],
    *,
    named: bool = False,
) -> list[tuple[str, ...]]:
    """Return a row a variable of each model, and one of all of them together where there are several."""
    rows: list[tuple[str, ...]] = []
    for name, model in models.items():
        model_name = f"{title} {_words(name)}" if named else title
        if isinstance(model, NotEstimable):
            rows.append((model_name, _words(name), *[""] * 3, said(model, str), ""))
            continue
        check = hazards[name]
        counts = (str(model.n), str(model.n_events))
        for term in model.terms:
            tested = said(check, partial(_checked, term.name))
            rows.append((model_name, _words(term.name), *counts, number(term.coefficient, 4), _hazard(term), tested))
        if len(model.terms) > 1:
            together = f"likelihood ratio {p_value(model.likelihood_ratio_test.p_value)}"
            overall = said(check, lambda test: p_value(test.overall.p_value))
            rows.append((model_name, "all of these", *counts, "", together, overall))
    return rows


def _checked(name: str, test: ProportionalHazards) -> str:
    return p_value(test.by_term[name].p_value)


def _exported(prognosis: Prognosis) -> str:
    rows = [
        (
            name,
            str(found.n),
            str(found.n_events),
            said(found.concordance, _c_index),
            said(found.calibration, lambda c: f"{interval(c.slope)}, {p_value(c.p_value)} of a slope of 1"),
            said(found.proportional_hazards, lambda test: p_value(test.overall.p_value)),
        )
        for name, found in prognosis.exported.items()
    ]
    unknown = [
        f"{name}: {found.unknown} patients without a risk"
        for name, found in prognosis.exported.items()
        if found.unknown
    ]
    groups = [
        row
        for name, found in prognosis.exported.items()
        for row in _group_rows(
            f"{name}: {found.above} (above {number(found.grouping.cut_off)}) against {found.below}", found.grouping
        )
    ]
    return (
        f"<p>{escape(_CARRIED_OVER)}{escape(' ' + '; '.join(unknown) + '.') if unknown else ''}</p>"
        + _table(
            ("Model", "n", "Events", "C-index (95 % CI)", "Calibration slope (95 % CI)", "Proportional hazards"), rows
        )
        + "<h3>Groups at the exported cut-off</h3>"
        + _table(_GROUP_HEAD, groups)
    )


def _model_of(result: RiskModelResult | NotEstimable) -> CoxModel | NotEstimable:
    return result if isinstance(result, NotEstimable) else result.fit.model


def _hazards_of(result: RiskModelResult | NotEstimable) -> ProportionalHazards | NotEstimable:
    return result if isinstance(result, NotEstimable) else result.fit.proportional_hazards


def _c_index(found: Concordance) -> str:
    return interval(found.c_index)


def _gain(found: ConcordanceComparison) -> str:
    return f"{found.difference.value:+.2f} ({number(found.difference.lower)} to {number(found.difference.upper)}), {p_value(found.p_value)}"


def _hazard(term: CoxTerm) -> str:
    return f"{interval(term.hazard_ratio)}, {p_value(term.p_value)}"


def _words(name: str) -> str:
    return "PD-L1ES" if name == COX_SIGNATURE else name.replace("_", " ")


def _retest(retest: Retest) -> str:
    rows = [
        ("pairs", str(retest.n)),
        ("PD-L1ES, ICC(2,1)", said(retest.score, lambda r: interval(r.icc))),
        ("PD-L1ES, mean difference", said(retest.score, lambda r: interval(r.bias, 3))),
        ("PD-L1ES, repeatability coefficient", said(retest.score, lambda r: number(r.repeatability_coefficient, 3))),
        *(
            (f"groups by {name} that flip", said(found, lambda g: f"{interval(g.flipped)}, kappa {number(g.kappa)}"))
            for name, found in retest.groups.items()
        ),
        *(
            (f"features with ICC {name}", f"{count} of {retest.n_features}")
            for name, count in retest.features_by_icc.items()
        ),
        ("median ICC of the model's features", number(retest.median_icc_selected)),
    ]
    return _table(("", "Found"), rows)


def _attention(found: AttentionSummary) -> str:
    rows = [
        (region, f"{100 * found.share[region]:.1f} %", f"{100 * found.area[region]:.1f} %") for region in found.share
    ]
    return (
        f"<p>Grad-CAM at {escape(found.block)}, mean of {found.n} patients; of {found.without} more the block raised the "
        "score nowhere. Border: within 6 pixels of the contour, on either side.</p>"
        + _table(("Region", "Share of the attention", "Share of the patch"), rows)
    )


def _table_one(table: TableOne) -> str:
    cohorts = list(table.n)
    others = [c for c in cohorts if c not in ("Total", table.reference)]
    rows: list[tuple[str, ...]] = []
    for variable in table.variables:
        if isinstance(variable, Categorical):
            tests = [variable.tests.get(c) for c in others]
            rows.append((variable.name, *[""] * len(cohorts), *(number(t.p_value, 3) if t else "–" for t in tests)))
            for k, level in enumerate(variable.levels):
                counts = [f"{variable.counts[c][k]} ({variable.percent(c)[k]:.1f} %)" for c in cohorts]
                rows.append((f"\N{EM SPACE}{level}", *counts, *[""] * len(others)))
        else:
            found = [variable.summaries[c] for c in cohorts]
            words = [
                f"{s.mean:.1f} ± {s.standard_deviation:.1f}" + (f"; {s.missing} unknown" if s.missing else "")
                for s in found
            ]
            rows.append((variable.name, *words, *(number(variable.p_values[c], 3) for c in others)))
    head = ("", *(f"{c} (n = {table.n[c]})" for c in cohorts), *(f"P, {table.reference} against {c}" for c in others))
    return _table(head, rows)


def _against(found: ModelInCohort) -> str:
    if found.comparison is None:
        return ""
    return said(
        found.comparison,
        lambda test: (
            f"{test.difference.value:+.2f} ({number(test.difference.lower)} to {number(test.difference.upper)}), "
            f"DeLong {p_value(test.p_value)}"
        ),
    )


def said_html(result: Any, wording: Any) -> str:
    """Return a result as HTML, or the reason why there is none."""
    return f"<p>{escape(said(result, str))}</p>" if isinstance(result, NotEstimable) else str(wording(result))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in head) if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table>{f"<thead><tr>{header}</tr></thead>" if header else ""}<tbody>{body}</tbody></table></div>'


def _figure(name: str, drawn: Rendered) -> str:
    image = base64.b64encode(drawn.svg).decode("ascii")
    return (
        f'<figure id="{escape(name)}"><img alt="{escape(drawn.title)}" src="data:image/svg+xml;base64,{image}">'
        f"<figcaption><b>{escape(drawn.title)}.</b> {escape(drawn.caption)}</figcaption></figure>"
    )


_STYLE: Final = """
:root{color-scheme:light}body{font:15px/1.5 system-ui,sans-serif;color:#1c1c1c;background:#f6f6f4;margin:0}
main{max-width:70rem;margin:0 auto;padding:1.5rem}h1{font-size:1.6rem}h2{font-size:1.2rem;margin:0 0 .6rem}
h3{font-size:1rem;margin:1.2rem 0 .4rem}section{background:#fff;border:1px solid #e2e2de;border-radius:6px;
padding:1.1rem 1.3rem;margin:1rem 0}.warning{background:#fff3cd;border:1px solid #d9a400;border-radius:6px;
padding:.7rem 1rem;font-weight:600}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #ececea}
th{background:#fafaf8;font-weight:600}td{font-variant-numeric:tabular-nums}figure{margin:1.2rem 0}
img{max-width:100%;height:auto}figcaption{color:#4a4a4a;font-size:.9rem}
@media print{body{background:#fff}section{border:0;padding:0;break-inside:auto}figure{break-inside:avoid}}
"""

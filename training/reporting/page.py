"""Writes ``report.html``: one page that holds all figures and loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from training.attention import AttentionSummary
from training.controls.retest import Retest
from training.progression.analyse import NO_SCORE
from training.reporting.competing_tables import competing_tables
from training.reporting.content import ReportContent
from training.reporting.expression_performance import expression_performance_tables
from training.reporting.expression_tables import expression_tables
from training.reporting.known_truth_tables import gate_table, shortfall_tables
from training.reporting.paper import not_in_this_report, rows_of
from training.reporting.progression_performance import performance_tables
from training.reporting.progression_tables import progression_tables
from training.reporting.scanner_tables import scanner_tables
from training.reporting.tables import Table, without_rows
from training.statistics.estimability import NotEstimable
from training.statistics.wording import interval, number, said


@dataclass(frozen=True, slots=True)
class _Paper:
    table: Table
    missing: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Attention:
    block: str
    n: int
    without: int
    regions: Table


def html_page(content: ReportContent) -> str:
    """Return the page, which has no script and loads no font or image."""
    return _template().render(_sections(content))


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("training.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2")


def _sections(content: ReportContent) -> dict[str, Any]:
    """Return what the template shows; None or empty for a section that the page lacks."""
    evaluation, prognosis = content.evaluation, content.prognosis
    return {
        "title": content.title,
        "warning": content.warning,
        "paper": _paper(content) if evaluation or prognosis else None,
        "gates": gate_table(content.gates) if content.gates else None,
        "shortfalls": shortfall_tables(content.shortfalls) if content.shortfalls else None,
        "expression": expression_tables(evaluation) if evaluation else None,
        "trust": expression_performance_tables(evaluation) if evaluation else None,
        "at_times": performance_tables(prognosis) if prognosis else None,
        "competing": competing_tables(prognosis) if prognosis else None,
        "scanners": scanner_tables(evaluation.scanners) if evaluation and evaluation.scanners else None,
        "progression": progression_tables(prognosis) if prognosis else None,
        "retest": _retest(content.retest) if content.retest else None,
        "attention": _attention(content.attention) if content.attention else None,
        "figures": [
            {
                "name": name,
                "title": drawn.title,
                "caption": drawn.caption,
                "image": base64.b64encode(drawn.svg).decode("ascii"),
            }
            for name, drawn in content.figures.items()
        ],
        "provenance": Table.of(("", ""), content.provenance.items()),
    }


def _paper(content: ReportContent) -> _Paper:
    rows = ((row.what, row.paper, row.cohort) for row in rows_of(content))
    table = Table.of(("Analysis", "Paper", "This cohort"), rows)
    shown = without_rows(table, NO_SCORE)
    missing = not_in_this_report(content.evaluation, content.prognosis)
    if folded := len(table.rows) - len(shown.rows):
        missing = (
            *missing,
            f"{folded} values of the paper have no counterpart here: no model has scored these patients.",
        )
    return _Paper(shown, missing)


def _retest(retest: Retest) -> Table:
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
    return Table.of(("", "Found"), rows)


def _attention(found: AttentionSummary | NotEstimable) -> _Attention | str:
    if isinstance(found, NotEstimable):
        return said(found, str)
    rows = (
        (region, f"{100 * found.share[region]:.1f} %", f"{100 * found.area[region]:.1f} %") for region in found.share
    )
    head = ("Region", "Share of the attention", "Share of the patch")
    return _Attention(found.block, found.n, found.without, Table.of(head, rows))

"""The result of a replication as a page in Markdown and as JSON; no value of a single patient."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Final, TypeVar

from training.replication.evaluation import SignatureEvaluation
from training.replication.onnx_file import signature_document
from training.replication.signature import LINKS, RadiomicSignature
from training.reporting.document import plain_value
from training.statistics.classification import Classification
from training.statistics.concordance import ConcordanceComparison
from training.statistics.discrimination import AucComparison
from training.statistics.estimability import NotEstimable
from training.statistics.wording import comparison, interval, number, p_value, said

Result = TypeVar("Result")
CLOSE_TO_VOLUME: Final = 0.8
"""Rank correlation from which the page says that a score follows tumour volume."""
COMPUTED_BY: Final = "3.0.1"
"""Version of pyradiomics whose formulas compute the features here."""


def replication_json(signature: RadiomicSignature, found: SignatureEvaluation) -> str:
    """Return signature and evaluation as JSON.

    Parameters
    ----------
    signature
        What was replicated.
    found
        On a cohort.

    Returns
    -------
    str
    """
    document = {
        "schema_version": 1,
        "signature": plain_value(signature_document(signature)),
        "evaluation": plain_value(found),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def replication_page(signature: RadiomicSignature, found: SignatureEvaluation) -> str:
    """Return a page for a reader.

    Parameters
    ----------
    signature
        What was replicated.
    found
        On a cohort.

    Returns
    -------
    str
        Markdown.
    """
    inverted = (
        ", a smaller one as the higher score (the direction that favours volume here)" if found.volume_inverted else ""
    )
    lines = [
        f"# {signature.name}",
        "",
        f"{signature.citation}. {signature.source}",
        "",
        f"Fitted to predict: {signature.endpoint}. {LINKS[signature.link].capitalize()}. SHA-256 `{signature.digest()[:16]}`.",
        f"{found.scored} of {found.patients} patients could be scored. Nothing was fitted on them.",
        *_version_note(signature),
        "",
        "| question | signature | tumour volume alone | difference |",
        "|---|---|---|---|",
        f"| high PD-L1 expression: AUC{_other(signature, 'binary')} | " + _cells(found.expression, _areas) + " |",
        f"| progression: C-index{_other(signature, 'survival')} | " + _cells(found.progression, _concordances) + " |",
        "",
        f"Volume is compared as it is{inverted}; no coefficient is fitted for it.",
        "",
        f"At the published cut-off, expression: {said(found.groups_by_expression, _groups)}.",
        f"At the published cut-off, progression: {said(found.groups_by_progression, comparison)}.",
        "",
        "| | rank correlation with volume | coefficient | mean | SD |",
        "|---|---:|---:|---:|---:|",
        f"| score | {number(found.volume_correlation['score'])} | | | |",
    ]
    for feature in signature.features:
        correlation = number(found.volume_correlation[feature.name])
        lines.append(
            f"| `{feature.name}` | {correlation} | {feature.coefficient:g} | {feature.mean:g} | {feature.sd:g} |"
        )
    close = abs(found.volume_correlation["score"])
    if math.isfinite(close) and close >= CLOSE_TO_VOLUME:
        lines += [
            "",
            f"**The score follows tumour volume** (rank correlation {found.volume_correlation['score']:.2f}).",
        ]
    return "\n".join(lines) + "\n"


def _cells(found: Result | NotEstimable, wording: Callable[[Result], str]) -> str:
    """Return three cells; of what is not estimable the first says why."""
    return f"{said(found, wording)} | |" if isinstance(found, NotEstimable) else wording(found)


def _version_note(signature: RadiomicSignature) -> list[str]:
    if signature.software_version == COMPUTED_BY:
        return []
    return [
        f"It was published with pyradiomics {signature.software_version}; its features are computed by the formulas of {COMPUTED_BY} here, "
        "which may differ."
    ]


def _other(signature: RadiomicSignature, kind: str) -> str:
    return "" if signature.endpoint_kind == kind else " (not the end point that it was fitted to)"


def _areas(found: AucComparison) -> str:
    n = found.first.n_positive + found.first.n_negative
    return (
        f"{interval(found.first)}, {n} patients, {found.first.n_positive} high | {interval(found.second)} | "
        f"{interval(found.difference)}, {p_value(found.p_value)}"
    )


def _concordances(found: ConcordanceComparison) -> str:
    return (
        f"{interval(found.first.c_index)}, {found.first.n} patients, {found.first.n_events} events | "
        f"{interval(found.second.c_index)} | {interval(found.difference)}, {p_value(found.p_value)}"
    )


def _groups(found: Classification) -> str:
    return f"sensitivity {interval(found.sensitivity)}, specificity {interval(found.specificity)}"

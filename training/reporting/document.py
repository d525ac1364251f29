"""Writes ``report.json``: all numbers as plain JSON data, and no value of a single patient."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel

from training.controls.retest import Retest
from training.reporting.content import ReportContent
from training.reporting.paper import not_in_this_report, rows_of
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import RiskModel
from training.statistics.xtile import HeldOutCutOff

SCHEMA_VERSION: Final = 2
_OF_PATIENTS: Final[dict[type, frozenset[str]]] = {
    RiskModel: frozenset({"risk"}),
    HeldOutCutOff: frozenset({"first_half"}),
    Retest: frozenset({"case_ids", "scores"}),
}
"""Fields with one value per patient; a report holds groups."""


def plain_value(value: Any) -> Any:
    """Return a result as dicts, lists, numbers, text and None.

    Parameters
    ----------
    value
        Dataclasses of `training`, pydantic models, arrays, mappings, sequences.

    Returns
    -------
    Any
        NaN and infinities are None, since JSON knows neither; a `NotEstimable` is ``{"not_estimable": reason}``; what
        holds one value per patient is left out.

    Raises
    ------
    TypeError
        A value has another type; nothing is silently turned into text.
    """
    if value is None or isinstance(value, str | bool | np.bool_):
        return bool(value) if isinstance(value, np.bool_) else value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, NotEstimable):
        return {"not_estimable": value.reason}
    if isinstance(value, BaseModel):
        return plain_value(value.model_dump(mode="python"))
    if is_dataclass(value) and not isinstance(value, type):
        hidden = _OF_PATIENTS.get(type(value), frozenset())
        return {
            field.name: plain_value(getattr(value, field.name)) for field in fields(value) if field.name not in hidden
        }
    if isinstance(value, Enum):
        return plain_value(value.value)
    if isinstance(value, Path):
        return value.name
    if isinstance(value, np.ndarray):
        return [plain_value(item) for item in value.tolist()]
    if isinstance(value, dict):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    raise TypeError(f"a report cannot hold a {type(value).__name__}")


def report_json(value: Any) -> bytes:
    """Return a result as JSON, the same bytes for the same result."""
    return (json.dumps(plain_value(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def report_document(content: ReportContent) -> dict[str, Any]:
    """Return ``report.json``: every number, the paper's values beside the cohort's; no value of a single patient."""
    return {
        "schema_version": SCHEMA_VERSION,
        "title": content.title,
        "warning": content.warning,
        "provenance": dict(content.provenance),
        "paper": rows_of(content),
        "not_in_this_report": list(not_in_this_report(content.evaluation, content.prognosis)),
        "gates": list(content.gates),
        "shortfalls": dict(content.shortfalls),
        "evaluation": content.evaluation,
        "prognosis": content.prognosis,
        "retest": content.retest,
        "attention": content.attention,
        "redivisions": [dict(one) for one in content.redivisions],
        "figures": {name: {"title": drawn.title, "caption": drawn.caption} for name, drawn in content.figures.items()},
    }

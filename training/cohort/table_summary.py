"""What was understood of a cohort's table, column by column, and what in it is improbable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from pdl1es.clinical import FAMILY_HISTORY_CODES, SEX_CODES, SMOKING_CODES

_UNITS: Final = {
    "age": "years",
    "pdl1_tps": "%",
    "pfs_days": "days",
    "slice_thickness_mm": "mm",
    "tube_current_ma": "mA",
}
_WORDS: Final[dict[str, dict[float, str]]] = {
    "sex": {code: word for word, code in SEX_CODES.items()},
    "smoking": {code: word for word, code in SMOKING_CODES.items()},
    "family_history": {code: word for word, code in FAMILY_HISTORY_CODES.items()},
    "label": {0: "low", 1: "high"},
    "progressed": {0: "censored", 1: "progressed"},
}
_TEXTS: Final = ("pdl1_assay", "event_cause", "treatment", "split")
"""Columns of few known words; the words of others could be a patient's."""
_YOUNGEST: Final = 18
_SEVERAL: Final = 3
"""Patients from which on short follow-up throughout is improbable."""
_SHORT_DAYS: Final = 183
"""Follow-up of whole years gives more days than this, and hardly ever more months."""
_SHORT_MEDIAN_DAYS: Final = 122
_SHORT_TENTH_DAYS: Final = 365
"""A median below four months, and nine of ten below a year: improbable as days, usual of weeks or months."""
_LONG_MEDIAN_DAYS: Final = 1826
"""Five years: half of the patients stay free of progression for longer in no trial of checkpoint inhibitors."""
_ROUNDING: Final = 1e-3
"""Days by which a spreadsheet's sum may miss a whole number."""
_CODES: Final = (0, 9, 99, 999, 9999)
_CODE_SHARE: Final = 0.05
_LOWEST_CODE: Final = {"age": 0, "pfs_days": 0, "pdl1_tps": 99}
"""Codes of missing values from which on they are looked for; a score of 0 or 9 is a usual one."""
_LONG_DAYS: Final = 5479
"""Fifteen years: longer than checkpoint inhibitors have been given."""
_YEARS: Final = (1980, 2100)
_MANY: Final = 10
"""Patients from which on a missing code is improbable."""
_Improbable = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """What was understood of one column.

    Attributes
    ----------
    column
        Its name.
    given, missing
        Rows with and without a value.
    understood
        Range, median and unit, or the words and their counts; empty for a column whose values no message repeats.
    """

    column: str
    given: int
    missing: int
    understood: str

    def __str__(self) -> str:
        """Return one line."""
        absent = f", {self.missing} missing" if self.missing else ""
        return f"{self.column}: {self.given} given{absent}" + (f"; {self.understood}" if self.understood else "")


def summaries(header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> tuple[ColumnSummary, ...]:
    """Return what was understood of each column.

    Parameters
    ----------
    header
        The table's columns.
    rows
        The fields of `table.CohortRow` of the rows without a fault.

    Returns
    -------
    tuple[ColumnSummary, ...]
        In the table's order; ``pfs_months`` counts as ``pfs_days``, and intervals of ``pdl1_tps`` as ``label``.
    """
    if not rows:
        return ()
    names = ["pfs_days" if name == "pfs_months" else name for name in header]
    if "pdl1_tps" in names and "label" not in names and any(row["label"] is not None for row in rows):
        names.insert(names.index("pdl1_tps") + 1, "label")
    return tuple(_summary(name, rows) for name in dict.fromkeys(names) if name in rows[0])


def improbable(header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[_Improbable]:
    """Return what is allowed and improbable, each as column, finding and remedy.

    Parameters
    ----------
    header
        The table's columns.
    rows
        The fields of `table.CohortRow` of the rows without a fault.

    Returns
    -------
    list[tuple[str, str, str]]
    """
    found = [*_odd_scores(rows), *_odd_times(rows, "pfs_months" in header), *_codes_of_missing(rows)]
    for column in ("ct_date", "pdl1_date", "treatment_start"):
        if odd := sum(not _YEARS[0] <= day.year <= _YEARS[1] for day in _given(column, rows)):
            found.append(
                (
                    column,
                    f"{odd} dates lie before {_YEARS[0]} or after {_YEARS[1]}",
                    "look whether the column holds dates",
                )
            )
    found += _odd_smoking(rows)
    ages = _given("age", rows)
    if ages and min(ages) < _YOUNGEST:
        young = sum(age < _YOUNGEST for age in ages)
        found.append(("age", f"{young} patients are younger than {_YOUNGEST}", "look whether the column holds years"))
    for column in ("sex", "label", "progressed"):
        values = _given(column, rows)
        if len(values) >= 10 and len(set(values)) == 1:
            word = _WORDS[column][values[0]]
            found.append(
                (column, f"all {len(values)} patients are {word}", "look whether the codes mean what you think")
            )
    return found


def _odd_scores(rows: Sequence[Mapping[str, Any]]) -> list[_Improbable]:
    """Tell scores that look like fractions, labels or grades."""
    tps = _given("pdl1_tps", rows)
    between = sum(0 < value < 1 for value in tps)
    if between and max(tps) <= 1:
        found = f"all {len(tps)} scores are at most 1 %, and some lie between 0 and 1: they look like fractions"
        return [("pdl1_tps", found, "give per cent, 80 for 0.8")]
    if between:
        found = f"{between} scores lie between 0 and 1 %, and others above: they could be fractions"
        return [("pdl1_tps", found, "give per cent, 80 for 0.8, or <1")]
    if len(tps) < _SEVERAL or not set(tps) <= {0, 1, 2, 3} or not any(tps):
        return []
    if max(tps) == 1:
        found = f"all {len(tps)} scores are 0 or 1 %: they look like labels"
        return [("pdl1_tps", found, "name the column label if 1 is high")]
    found = f"all {len(tps)} scores are 0 to 3 %: they look like grades"
    return [("pdl1_tps", found, "give per cent, or the label alone")]


def _odd_times(rows: Sequence[Mapping[str, Any]], months: bool) -> list[_Improbable]:
    """Tell times that look like those of another unit, by their median and quantiles: one long time hides nothing."""
    days = sorted(_given("pfs_days", rows))
    if not days:
        return []
    middle, tenth = median(days), days[int(0.9 * (len(days) - 1))]
    reach = f"times reach from {days[0]:g} to {days[-1]:g} days, median {middle:g}"
    short = days[-1] < _SHORT_DAYS or (middle < _SHORT_MEDIAN_DAYS and tenth < _SHORT_TENTH_DAYS)
    broken = any(abs(day - round(day)) > _ROUNDING for day in days)
    found = []
    if months and len(days) >= _SEVERAL and short:
        found.append((f"{reach}, of months: they are short", "look whether pfs_months holds months, and no years"))
    elif not months and (broken or (len(days) >= _SEVERAL and short)):
        remedy = "name the column pfs_months if they are; give days, seven a week, if they are weeks"
        found.append((f"{reach}: they look like months or weeks", remedy))
    if len(days) >= _SEVERAL and middle > _LONG_MEDIAN_DAYS:
        looks = "they look like days in pfs_months" if months else "half of them are longer than five years"
        found.append((f"{reach}: {looks}", "name the column pfs_days if they are days" if months else "give days"))
    elif long := sum(day > _LONG_DAYS for day in days):
        found.append(
            (
                f"{long} times are longer than 15 years, up to {days[-1]:g} days",
                "look for codes of missing values such as 9999, and for days in pfs_months",
            )
        )
    return [("pfs_days", what, remedy) for what, remedy in found]


def _codes_of_missing(rows: Sequence[Mapping[str, Any]]) -> list[_Improbable]:
    """Tell values of several patients that are elsewhere written for a missing one, such as 99."""
    found = []
    for column, lowest in _LOWEST_CODE.items():
        values = _given(column, rows)
        for code in _CODES:
            shared = values.count(code)
            if code >= lowest and shared >= max(_SEVERAL, _CODE_SHARE * len(values)):
                what = f"{shared} of {len(values)} values are {code} {_UNITS[column]}: it could be a code of missing values"
                found.append((column, what, "leave the cell empty where the value is not known"))
    return found


def _odd_smoking(rows: Sequence[Mapping[str, Any]]) -> list[_Improbable]:
    """Tell codes of smoking that look like those of another scheme: 0 and 1 for no and yes, or 1 and 2."""
    grades = set(_given("smoking", rows))
    if len(_given("smoking", rows)) < _MANY or any(not row["smoking_graded"] for row in rows):
        return []
    never, occasionally = SMOKING_CODES["never"], SMOKING_CODES["occasionally"]
    if grades == {never, occasionally}:
        return [
            (
                "smoking",
                "nobody smokes constantly: 1 was read as occasionally",
                "write smoker where the column says only whether a patient smoked",
            )
        ]
    if grades == {never, SMOKING_CODES["constantly"]}:
        return [
            (
                "smoking",
                "nobody smokes occasionally: 2 was read as constantly",
                "write never, occasionally and constantly, or smoker where 2 says only that a patient smoked",
            )
        ]
    if never not in grades and len(grades) > 1:
        return [
            (
                "smoking",
                "nobody never smoked: 1 was read as occasionally, 2 as constantly",
                "write never, occasionally and constantly, or smoker",
            )
        ]
    return []


def _given(column: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [row[column] for row in rows if row[column] is not None]


def _summary(column: str, rows: Sequence[Mapping[str, Any]]) -> ColumnSummary:
    values = _given(column, rows)
    understood = ""
    if values and column in _UNITS:
        unit = _UNITS[column]
        understood = f"{min(values):g} to {max(values):g} {unit}, median {median(values):g}"
    elif column in _WORDS or column in _TEXTS:
        words = [_WORDS[column][value] if column in _WORDS else str(value) for value in values]
        if column == "smoking":
            words += ["smoker of unknown grade" for row in rows if not row["smoking_graded"]]
        understood = ", ".join(f"{word} {count}" for word, count in sorted(Counter(words).items()))
        return ColumnSummary(column, len(words), len(rows) - len(words), understood)
    return ColumnSummary(column, len(values), len(rows) - len(values), understood)

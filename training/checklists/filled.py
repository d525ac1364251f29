"""A filled checklist and its score: a person's answers and the machine's, which must not contradict one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from training.checklists.answer import MET, ChecklistAnswer
from training.checklists.instruments import KEYS, Checklist, ChecklistItem, checklist
from training.checklists.known_answers import known_answers
from training.checklists.run_facts import RunFacts
from training.errors import UsageError

OPEN: Final = ChecklistAnswer("open", "not answered yet")


class AnswersError(UsageError):
    """A file of answers cannot be used, or contradicts the run; every fault is named."""


@dataclass(frozen=True, slots=True)
class ChecklistScore:
    """Score of a checklist.

    Attributes
    ----------
    reached, most
        Sum of the weights or points that are met, and of all that apply.
    unverified
        The part of ``most`` whose weights could not be compared with the published table.
    open_items
        How many items nobody has answered; they count as not met.
    """

    reached: float
    most: float
    unverified: float
    open_items: int

    @property
    def percent(self) -> float:
        """Share of what applies, in percent."""
        return 100 * self.reached / self.most


@dataclass(frozen=True, slots=True)
class FilledChecklist:
    """A checklist with an answer to every item.

    Attributes
    ----------
    checklist
        Its items.
    answers
        By the item's number.
    known
        Numbers of the items that the machine answered.
    """

    checklist: Checklist
    answers: Mapping[str, ChecklistAnswer]
    known: frozenset[str]

    @property
    def open_items(self) -> tuple[str, ...]:
        """Numbers of the items that nobody has answered."""
        return tuple(item.number for item in self.checklist.items if self.answers[item.number].met == "open")

    def score(self) -> ChecklistScore | None:
        """Return the score; None on a checklist that has none.

        METRICS: the sum of the weights of the items met, as a share of the weights of the items that apply (Kocak et
        al. 2024); an item is met or not, so that 'partly' counts as not met. RQS: points reached of the points that can be had.
        """
        if self.checklist.scale == "met":
            return None
        applying = [item for item in self.checklist.items if self.answers[item.number].met != "n/a"]
        return ChecklistScore(
            reached=sum(self._reached(item) for item in applying),
            most=sum(item.most or 0.0 for item in applying),
            unverified=sum(item.most or 0.0 for item in applying if not item.verified),
            open_items=len(self.open_items),
        )

    def _reached(self, item: ChecklistItem) -> float:
        answer = self.answers[item.number]
        if self.checklist.scale == "points":
            return answer.points or 0.0
        return (item.most or 0.0) if answer.met == "yes" else 0.0


def read_answers(path: Path) -> dict[str, dict[str, ChecklistAnswer]]:
    """Read a person's answers.

    Parameters
    ----------
    path
        YAML: by checklist (`KEYS`) and item, ``met`` (yes, partly, no, n/a) and ``where``; on the RQS ``points`` instead
        of ``met``.

    Returns
    -------
    dict[str, dict[str, ChecklistAnswer]]

    Raises
    ------
    AnswersError
        The file cannot be read, or an answer is not one; all faults at once.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AnswersError(f"{path.name} is no YAML that can be read: {error}") from error
    if not isinstance(document, dict):
        raise AnswersError(f"{path.name} holds no answers by checklist: its top level must be one of {', '.join(KEYS)}")
    faults: list[str] = []
    found: dict[str, dict[str, ChecklistAnswer]] = {}
    for key, given in document.items():
        if key not in KEYS or not isinstance(given, dict):
            faults.append(f"{key!r} is no checklist; known: {', '.join(KEYS)}")
            continue
        items = {item.number: item for item in checklist(key).items}
        found[key] = {}
        for no, cell in given.items():
            answer = _answer(items.get(str(no)), cell)
            if isinstance(answer, ChecklistAnswer):
                found[key][str(no)] = answer
            else:
                faults.append(f"{key} {no}: {answer}")
    if faults:
        raise AnswersError(f"{path.name} cannot be used: " + "; ".join(faults))
    return found


def _answer(item: ChecklistItem | None, cell: Any) -> ChecklistAnswer | str:
    """Return the answer, or why it is none."""
    if item is None:
        return "there is no such item"
    if not isinstance(cell, dict) or not set(cell) <= {"met", "where", "points"}:
        return f"an answer has the keys met, where and points, got {cell!r}"
    where = cell.get("where")
    if not isinstance(where, str) or not where.strip():
        return "`where` must say where it is met, or why not"
    points = cell.get("points")
    if points is not None:
        if item.most is None or item.most < 1:
            return "this checklist gives no points"
        if isinstance(points, bool) or not isinstance(points, int) or not 0 <= points <= item.most:
            return f"points must be a whole number from 0 to {item.most:g}, got {points!r}"
        return ChecklistAnswer(
            "no" if points == 0 else "yes" if points == item.most else "partly", where, float(points)
        )
    met = cell.get("met")
    if isinstance(met, bool):  # as which YAML reads a bare yes or no
        return ChecklistAnswer("yes" if met else "no", where)
    if met not in MET[:4]:
        return f"`met` must be one of {', '.join(MET[:4])}, got {met!r}"
    return ChecklistAnswer(met, where)


def fill_checklists(
    facts: RunFacts, answers: Mapping[str, Mapping[str, ChecklistAnswer]]
) -> dict[str, FilledChecklist]:
    """Put a person's answers and the machine's together.

    Parameters
    ----------
    facts
        Of the run.
    answers
        As `read_answers` gives them. To an item that the machine answers, a person's answer adds its ``where``.

    Returns
    -------
    dict[str, FilledChecklist]
        By the names of `KEYS`.

    Raises
    ------
    AnswersError
        An answer contradicts the run: it is stale. All of them are named.
    """
    known = known_answers(facts)
    stale: list[str] = []
    filled = {}
    for key in KEYS:
        listed = checklist(key)
        given, machine = answers.get(key, {}), known.get(key, {})
        merged = {}
        for item in listed.items:
            mine, its = given.get(item.number), machine.get(item.number)
            if mine is not None and its is not None:
                if (mine.met, mine.points) != (its.met, its.points):
                    stale.append(
                        f"{listed.name} {item.number} says {_said(mine)}, but the run says {_said(its)}: {its.where}"
                    )
                its = ChecklistAnswer(its.met, f"{its.where}; {mine.where}", its.points)
            merged[item.number] = its or mine or OPEN
        filled[key] = FilledChecklist(listed, merged, frozenset(machine))
    if stale:
        raise AnswersError("answers are stale: " + "; ".join(stale))
    return filled


def _said(answer: ChecklistAnswer) -> str:
    return answer.met if answer.points is None else f"{answer.points:g} points"

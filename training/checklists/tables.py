"""Filled checklists as Markdown and JSON."""

from __future__ import annotations

from typing import Any, Final

from training.checklists.answer import ChecklistAnswer
from training.checklists.filled import FilledChecklist

MEAN_METRICS: Final = 58.1
"""Percent: the mean METRICS score of 22 studies of CT radiomics and PD-L1 in a meta-analysis of 2025 (24 to 83.4)."""


def checklist_table(filled: FilledChecklist) -> str:
    """Return source, table and score of one checklist in Markdown.

    Parameters
    ----------
    filled
        With an answer to every item. Answers that the machine gave are marked by an asterisk.

    Returns
    -------
    str
    """
    listed = filled.checklist
    header = {"weight": "met", "points": "points", "met": "met"}[listed.scale]
    lines = [
        f"{listed.citation}. {listed.source}",
        "",
        f"| no. | item | {header} | where, or why not |",
        "|---|---|---|---|",
    ]
    group = ""
    for item in listed.items:
        answer = filled.answers[item.number]
        if item.group != group:
            group = item.group
            lines.append(f"| | **{group}** | | |")
        weight = f" ({item.most:.4f})" if listed.scale == "weight" else ""
        mark = "*" if item.number in filled.known else ""
        lines.append(
            f"| {item.number} | {item.item}{weight} | {_cell(answer, item.most)}{mark} | {_plain(answer.where)} |"
        )
    sentence = score_sentence(filled)
    return "\n".join([*lines, *(["", sentence] if sentence else [])])


def score_sentence(filled: FilledChecklist) -> str:
    """Say what the score is and what it rests on; empty on a checklist without one."""
    score = filled.score()
    if score is None:
        return ""
    name = filled.checklist.name
    unanswered = f" {score.open_items} items are not answered and count as not met." if score.open_items else ""
    if filled.checklist.scale == "points":
        return f"**{name}: {score.reached:g} of {score.most:g} points ({score.percent:.0f} %).**{unanswered}"
    return (
        f"**{name} score: {score.percent:.1f} %** ({score.reached:.4f} of {score.most:.4f}, the weights that apply). 22 "
        f"studies of CT radiomics and PD-L1 had {MEAN_METRICS} % on average (24 % to 83.4 %). Weights of {score.unverified:.4f} could "
        f"not be compared with the printed table.{unanswered}"
    )


def checklists_document(filled: dict[str, FilledChecklist]) -> str:
    """Return one Markdown page with every checklist.

    Parameters
    ----------
    filled
        By name.

    Returns
    -------
    str
    """
    parts = [
        "# Checklists",
        "An asterisk marks what the training run itself answers. 'open' marks what a person has to answer: write it into a "
        "file (`open.yaml` has the form) and give that file as `--answers`.",
    ]
    for one in filled.values():
        parts += [f"## {one.checklist.name}", checklist_table(one)]
    return "\n\n".join(parts) + "\n"


def checklists_json(filled: dict[str, FilledChecklist]) -> dict[str, Any]:
    """Return the same as a document for JSON."""
    return {key: _one_json(one) for key, one in filled.items()}


def _one_json(one: FilledChecklist) -> dict[str, Any]:
    score = one.score()
    return {
        "name": one.checklist.name,
        "citation": one.checklist.citation,
        "source": one.checklist.source,
        "score_percent": None if score is None else score.percent,
        "open": list(one.open_items),
        "items": {
            no: {"met": answer.met, "points": answer.points, "where": answer.where, "by_machine": no in one.known}
            for no, answer in one.answers.items()
        },
    }


def open_answers(filled: dict[str, FilledChecklist]) -> str:
    """Return a YAML file with every open item, to be answered."""
    lines = ["# ChecklistAnswer each line: met is yes, partly, no or n/a; where says where it is met, or why not."]
    for key, one in filled.items():
        if not one.open_items:
            continue
        lines.append(f"{key}:")
        for item in one.checklist.items:
            if item.number in one.open_items:
                points = one.checklist.scale == "points"
                lines.append(f"  # {item.item}" + (f", up to {item.most:g}" if points else ""))
                field = "points: 0" if points else 'met: "no"'
                lines.append(f'  "{item.number}": {{{field}, where: ""}}')
    return "\n".join(lines) + "\n"


def _cell(answer: ChecklistAnswer, most: float | None) -> str:
    return answer.met if answer.points is None else f"{answer.points:g} of {most:g}"


def _plain(text: str) -> str:
    return text.replace("|", r"\|")

"""The command ``pdl1es checklists``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from pdl1es.console import labelled, say
from training.commands.endings import told_errors


def checklists(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a finished training run, or of a model exported from one.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Folder; made where missing.", file_okay=False, show_default=False)
    ],
    answers: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option("--answers", help="YAML with what a person answers.", exists=True, dir_okay=False),
    ] = None,
) -> None:
    """Fill METRICS, RQS 2.0, CLAIM 2024, CLEAR and TRIPOD+AI: what the run knows, and what a person answered.

    Writes checklists.md, checklists.json and open.yaml, the form for what is still to be answered. An answer that
    contradicts the run is an error. Exit codes: 0 written; 2 usage.

    \f
    Parameters
    ----------
    run, output, answers
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the folder holds no run, or the answers cannot be used or contradict it.
    """
    from pdl1es.atomic import write_atomically
    from training.checklists.filled import fill_checklists, read_answers
    from training.checklists.run_facts import read_run_facts
    from training.checklists.tables import checklists_document, checklists_json, open_answers, score_sentence

    with told_errors():
        filled = fill_checklists(read_run_facts(run), read_answers(answers) if answers else {})
    output.mkdir(parents=True, exist_ok=True)
    contents = {
        "checklists.md": checklists_document(filled),
        "checklists.json": json.dumps(checklists_json(filled), indent=1, ensure_ascii=False) + "\n",
        "open.yaml": open_answers(filled),
    }
    for name, text in contents.items():
        write_atomically(output / name, text.encode("utf-8"))
    for one in filled.values():
        sentence = score_sentence(one).replace("**", "")
        open_items = f"{len(one.open_items)} of {len(one.checklist.items)} items are open"
        labelled(one.checklist.name, sentence or open_items)
    say(f"checklists: {output / 'checklists.md'}")

"""The commands that a document tells its reader to type, held to the command line that there is."""

from __future__ import annotations

import shlex
from typing import Any

import typer

from pdl1es.command_line.cli import app
from training.commands.cli import app as training

USAGE_ERROR: Any = typer.BadParameter.__base__
"""click's, which typer brings along under another name."""


def commands(text: str) -> list[list[str]]:
    """Return the arguments of every line that starts with ``pdl1es``; brackets mark what may be left out."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        while words and "=" in words[0]:  # environment variables
            words = words[1:]
        if words[:1] == ["pdl1es"]:
            found.append(shlex.split(" ".join(words[1:]).translate(str.maketrans("", "", "[]")), comments=True))
    return found


def misunderstood(arguments: list[str]) -> str | None:
    """Return what the command line does not understand, or None; files need not exist."""
    known: dict[str, Any] = {}
    for part in (app, training):
        known |= typer.main.get_command(part).commands  # type: ignore[attr-defined]  # both are groups
    rest = list(arguments)
    while True:
        name = rest.pop(0)
        if name not in known:
            return f"there is no command {name!r}"
        command = known[name]
        if not hasattr(command, "commands"):
            break
        known = command.commands
    try:
        _, left, _ = command.make_parser(command.context_class(command)).parse_args(rest)
    except USAGE_ERROR as error:
        return f"{shlex.join(arguments)}: {error}"
    return f"{shlex.join(arguments)}: {left} is too much" if left else None

"""The training's rooms: none imports in a circle, and none needs the application that scores patients."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def room(module: str) -> str:
    """Return the room of a module: its package in ``training``, or the module itself where it lies in none."""
    return ".".join(module.split(".")[:2])


@pytest.fixture(scope="module")
def rooms(repository: Path) -> dict[str, set[str]]:
    """Which rooms each room needs."""
    needs: dict[str, set[str]] = {}
    for path in (repository / "training").rglob("*.py"):
        module = ".".join(path.relative_to(repository).with_suffix("").parts)
        own = room(module)
        needs.setdefault(own, set()).update(room(name) for name in imported(path) if name.startswith("training."))
        needs[own].discard(own)
    return needs


def test_no_room_imports_in_a_circle(rooms: dict[str, set[str]]) -> None:
    try:
        order = list(TopologicalSorter(rooms).static_order())
    except CycleError as error:
        pytest.fail(f"rooms import each other in a circle: {' -> '.join(error.args[1])}")
    assert {"training.statistics", "training.cohort", "training.reporting"} <= set(order)


def test_training_imports_neither_application_nor_operators(repository: Path) -> None:
    for path in (repository / "training").rglob("*.py"):
        assert not {name.partition(".")[0] for name in imported(path)} & {"app", "operators"}, path
    program = (
        "import sys, training.reproduce, training.untrained\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('app', 'operators')])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"

"""The training needs nothing of the application that scores patients."""

from __future__ import annotations

import ast
import subprocess
import sys
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


@pytest.mark.parametrize("module", ["training.attention", "training.reporting.report", "training.commands.cli"])
def test_torch_is_loaded_by_what_computes_with_it_alone(module: str, repository: Path) -> None:
    """A report is drawn, and a command's help printed, without the seconds that torch and MONAI take to load."""
    program = f"import sys, {module}; print(sorted({{'torch', 'monai', 'holoscan', 'lightning'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"

"""Names: whoever reads one in a message, a document or an import knows which thing it is."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PRODUCT = ("pdl1es", "app", "operators", "gateway", "training", "package", "benchmarks", "docs")


def modules(repository: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Give the product's modules, parsed."""
    for package in PRODUCT:
        for path in sorted((repository / package).rglob("*.py")):
            yield path.relative_to(repository), ast.parse(path.read_text(encoding="utf-8"))


def defined_twice(places: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the names that are defined in more than one place."""
    return {name: where for name, where in places.items() if len(where) > 1}


def test_no_two_public_classes_have_one_name(repository: Path) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in modules(repository):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path}:{node.lineno}")
    assert {"Study", "Selection", "CTSeries"} <= set(places)
    assert defined_twice(places) == {}


def test_no_two_public_functions_have_one_name(repository: Path) -> None:
    """A command's function is named as the command is, and ``main`` as everybody's."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in modules(repository):
        if {"commands", "command_line"} & set(path.parts):
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name != "main":
                places[node.name].append(f"{path}:{node.lineno}")
    assert {"scan_study", "report_sr", "build_sr"} <= set(places)
    assert defined_twice(places) == {}

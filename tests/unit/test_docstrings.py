"""Docstrings: a function with two arguments or more says what each is, what it returns and what it raises (numpydoc)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDERS = ("pdl1es", "app", "operators", "gateway", "training", "package", "benchmarks", "docs")
SECTION = re.compile(r"^(?P<name>[A-Z]\w+)\n-{3,}\n(?P<text>.*?)(?=^[A-Z]\w+\n-{3,}\n|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Documented:
    """A public function or method with two arguments or more, and its docstring's sections."""

    where: str
    node: ast.FunctionDef
    arguments: list[str]
    sections: dict[str, str]


def arguments_of(node: ast.FunctionDef) -> list[str]:
    """Return the names that a caller may give, without those that the function does not use (``_``)."""
    given = node.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def methods(repository: Path) -> Iterator[tuple[str, ast.ClassDef | None, ast.FunctionDef]]:
    """Give every public function and method of the product with its place and class."""
    for folder in FOLDERS:
        for path in sorted((repository / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            holders: list[ast.Module | ast.ClassDef] = [tree]
            holders += [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
            for holder in holders:
                for node in holder.body:
                    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                        where = f"{path.relative_to(repository)}:{node.lineno} {node.name}"
                        yield where, holder if isinstance(holder, ast.ClassDef) else None, node


@pytest.fixture(scope="module")
def documented(repository: Path) -> list[Documented]:
    """What has to be documented: not what a class of the product, from which this one inherits, documents already."""
    found, of_class = [], {}
    for where, holder, node in methods(repository):
        arguments = arguments_of(node)
        if len(arguments) < 2:
            continue
        sections = {part["name"]: part["text"] for part in SECTION.finditer((ast.get_docstring(node) or "") + "\n")}
        found.append((holder, Documented(where, node, arguments, sections)))
        if holder is not None and "Parameters" in sections:
            of_class[holder.name, node.name] = arguments
    return [
        one
        for holder, one in found
        if "Parameters" in one.sections
        or holder is None
        or not any(of_class.get((ast.unparse(base), one.node.name)) == one.arguments for base in holder.bases)
    ]


def raised(node: ast.AST) -> Iterator[str]:
    """Give what a function raises itself, not what functions within it do."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(child, ast.Raise) and child.exc is not None:
            yield ast.unparse(child.exc)
        yield from raised(child)


def test_every_argument_is_told(documented: list[Documented]) -> None:
    assert len(documented) > 400
    wrong = []
    for one in documented:
        told = {
            name.strip().lstrip("*")
            for line in re.split(r"\n(?! )", one.sections.get("Parameters", ""))
            for name in line.partition("\n")[0].split(":")[0].split(",")
        } - {""}
        more = {given.arg for given in (one.node.args.vararg, one.node.args.kwarg) if given is not None}
        if told - more != set(one.arguments):
            wrong.append(f"{one.where}: {sorted(told ^ set(one.arguments))}")
    assert wrong == []


def test_what_is_returned_and_raised_is_told(documented: list[Documented]) -> None:
    wrong = []
    for one in documented:
        returns = one.node.returns
        nothing = returns is None or (isinstance(returns, ast.Constant) and returns.value is None)
        if not nothing and not {"Returns", "Yields"} & set(one.sections):
            wrong.append(f"{one.where}: Returns")
        if "Raises" not in one.sections and (errors := list(raised(one.node))):
            wrong.append(f"{one.where}: Raises, {errors[0]}")
    assert wrong == []

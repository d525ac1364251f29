"""Which package imports which: as the tables of the architecture allow, so that nothing imports in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROW = re.compile(r"^\| (\d+) \| (`[^|]+`) \|", re.MULTILINE)
TABLE = re.compile(r"^\| row \| in `(\w+)/` \|.*?\n\n", re.MULTILINE | re.DOTALL)
PACKAGES = ("pdl1es", "gateway", "training")


def rows(repository: Path, package: str) -> dict[str, int]:
    """Return the row of each room, by its dotted name, from the architecture's table."""
    text = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    (table,) = (part for part in TABLE.finditer(text) if part[1] == package)
    found: dict[str, int] = {}
    for number, names in ROW.findall(table[0]):
        for name in re.findall(r"`([^`]+)`", names):
            assert name not in found, f"{name} has two rows"
            found[f"{package}.{name.replace('/', '.')}"] = int(number)
    return found


def imported(path: Path) -> Iterator[str]:
    """Give every module or name that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(repository: Path, name: str) -> str | None:
    """Return the room of a module or of a name in one: its package, or the module itself where it lies in none."""
    package, *parts = name.removesuffix(".__init__").split(".")
    folder, found = repository / package, [package]
    for part in parts:
        if (folder / part / "__init__.py").is_file():
            folder, found = folder / part, [*found, part]
        elif len(found) == 1 and (folder / f"{part}.py").is_file():
            return f"{package}.{part}"
        else:
            break
    return ".".join(found) if len(found) > 1 else None


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_has_its_row(repository: Path, package: str) -> None:
    modules = (path.relative_to(repository).with_suffix("") for path in (repository / package).rglob("*.py"))
    rooms = {room(repository, ".".join(path.parts)) for path in modules} - {None}
    assert rooms == set(rows(repository, package))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_imports_rooms_of_the_rows_above_alone(repository: Path, package: str) -> None:
    row = rows(repository, package)
    wrong = set()
    for path in sorted((repository / package).rglob("*.py")):
        own = room(repository, ".".join(path.relative_to(repository).with_suffix("").parts))
        if own is None:
            continue
        needed = {
            other for name in imported(path) if name.startswith(f"{package}.") and (other := room(repository, name))
        }
        wrong |= {f"{path.relative_to(repository)}: {other}" for other in needed - {own} if row[other] >= row[own]}
    assert sorted(wrong) == []

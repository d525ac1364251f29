"""Whatever a document points at is there: links, sections, files, modules, make targets."""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import PurePosixPath

import pytest

from tests.unit.docs.documents import (
    FENCE,
    REPOSITORY,
    anchors,
    documents,
    links,
    prose,
    text_of,
    tracked_files,
    tracked_paths,
)

CODE = re.compile(r"`([^`\n]+)`")
CURRENT = [document for document in documents() if document != "CHANGELOG.md"]
"""A changelog names what has gone."""
OUTPUTS = ("runs/", "out/", "build/", "cohort/", ".venv")
"""Places in a checkout that a command fills; git does not know them."""


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_to_a_file_and_section_that_exist(document: str) -> None:
    folder = posixpath.dirname(document)
    broken = []
    for link in links(text_of(document)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):  # another site is not asked
            continue
        path = posixpath.normpath(posixpath.join(folder, target)) if target else document
        exists = path in tracked_paths() or path.startswith("..")  # what lies beyond the root is the web site's own
        if not exists or (anchor and path.endswith(".md") and anchor not in anchors(text_of(path))):
            broken.append(link)
    assert broken == []


def named_paths(document: str) -> list[str]:
    """Whatever stands as code and can only be a path of the repository."""
    roots = {name.partition("/")[0] for name in tracked_paths()} - {"."}
    found = []
    for code in CODE.findall(prose(text_of(document))):
        word = re.split(r"[\s(:#]", code, maxsplit=1)[0].rstrip(",.")
        parts = word.rstrip("/").split("/")
        if len(parts) > 1 and parts[0] in roots and re.fullmatch(r"[\w./{},*\-]+", word):
            found.append(word)
    return [path for path in found if not path.startswith(OUTPUTS)]


@pytest.mark.parametrize("document", CURRENT)
def test_every_path_that_is_named_exists(document: str) -> None:
    folder = REPOSITORY / posixpath.dirname(document)
    missing = [
        path for path in named_paths(document)
        if path.rstrip("/") not in tracked_paths()
        and not any(REPOSITORY.glob(re.sub(r"\{[^}]*\}", "*", path)))
        and not (folder / path).exists()
    ]  # fmt: skip
    assert missing == []


@pytest.mark.parametrize("document", CURRENT)
def test_every_python_file_that_is_named_exists(document: str) -> None:
    names = {PurePosixPath(name).name for name in tracked_files()}
    named = {
        PurePosixPath(code).name
        for code in CODE.findall(prose(text_of(document)))
        if re.fullmatch(r"[\w./]+\.py", code)
    }
    assert named - names == set()


@pytest.mark.parametrize("document", CURRENT)
def test_every_module_function_and_class_that_is_named_exists(document: str) -> None:
    """``pdl1es.method_digest.method_digest``: a module, or a name at the top of one."""
    wrong = []
    for code in CODE.findall(text_of(document)):
        for name in re.findall(r"(?<![\w/.-])(?:pdl1es|operators|training|benchmarks)(?:\.[A-Za-z_]\w*)+", code):
            parts = name.split(".")
            if not any(_defines(parts[:cut], parts[cut:]) for cut in range(len(parts), 0, -1)):
                wrong.append(name)
    assert wrong == []


def _defines(module: list[str], attribute: list[str]) -> bool:
    path = "/".join(module)
    file = next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in tracked_files()), None)
    if file is None:
        return not attribute and path in tracked_paths()
    if not attribute:
        return True
    tree = ast.parse(text_of(file))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # names that a package loads when asked
            names.add(node.value)
    return attribute[0] in names


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target for document in documents()
        for block in [*FENCE.findall(text_of(document)), *CODE.findall(prose(text_of(document)))]
        for target in re.findall(r"^make (?:[A-Z_]+=\S+ )*([a-z][\w-]*)", block, re.MULTILINE)
    }  # fmt: skip
    assert {"demo", "test", "lint"} <= named
    assert named - targets == set()

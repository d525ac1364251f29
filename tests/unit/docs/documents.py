"""The project's documents as a reader and a test see them: prose, code, links and headings apart."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


@cache
def tracked_files() -> frozenset[str]:
    """Every file of the repository as git knows it, as paths from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return frozenset(name for name in listed.stdout.splitlines() if (REPOSITORY / name).exists())


@cache
def tracked_paths() -> frozenset[str]:
    """Every file and folder of the repository."""
    folders = {str(folder) for name in tracked_files() for folder in Path(name).parents}
    return tracked_files() | folders


def documents() -> list[str]:
    """Every Markdown file, as a path from the repository's root."""
    return sorted(name for name in tracked_files() if name.endswith(".md"))


def text_of(document: str) -> str:
    """The text of one file."""
    return (REPOSITORY / document).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return FENCE.sub("", text)


def links(text: str) -> list[str]:
    """The targets of all links and pictures."""
    return LINK.findall(prose(text))


def anchors(text: str) -> set[str]:
    """The anchors of all headings, made as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} (.+)$", prose(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)

"""Install the packages that the run time imports, without those that pip would only add as dependencies.

pip resolves ``requirements.txt`` with the versions and hashes of ``lock.txt`` without installing anything; the packages
that ``left_out.txt`` names are then taken out, with all that only they need, and the rest is installed without
dependencies. Of a further list, as the gateway's, what the environment lacks is resolved and installed. Both runs of pip
share a cache for as long as they take, so that nothing is downloaded or compiled twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ONNXRUNTIME = "onnxruntime"
"""The distribution that ``requirements.txt`` names; ``[gpu]`` of ``pyproject.toml`` has another for its place."""

Need = tuple[str, frozenset[str]]
"""A package's canonical name and the extras that are asked of it."""


def read_list(file: Path) -> list[str]:
    """Return the entries of a list: what stands before a blank, without comments and options."""
    lines = (line.partition("#")[0].split() for line in file.read_text(encoding="utf-8").splitlines())
    return [words[0] for words in lines if words and not words[0].startswith("-")]


def requested(requirements: Path, gpu: Iterable[str] | None = None) -> list[str]:
    """Return the requirements, with onnxruntime for a CPU replaced by its build for a GPU.

    Parameters
    ----------
    requirements
        The run time's list.
    gpu
        The extra ``[gpu]``; None for a CPU.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        Where ``onnxruntime==`` does not stand in the list exactly once.
    """
    wanted = read_list(requirements)
    rest = [line for line in wanted if not line.startswith(f"{ONNXRUNTIME}==")]
    if len(rest) != len(wanted) - 1:
        raise ValueError(f"{requirements.name} must pin {ONNXRUNTIME} once, it does so {len(wanted) - len(rest)} times")
    return wanted if gpu is None else [*rest, *gpu]


def further(requirements: Path, more: Path) -> list[str]:
    """Return the requirements of a further list that the run time's does not name.

    Parameters
    ----------
    requirements
        The run time's list.
    more
        The further list, as the gateway's.

    Returns
    -------
    list of str
    """
    there = {canonicalize_name(Requirement(line).name) for line in read_list(requirements)}
    return [line for line in read_list(more) if canonicalize_name(Requirement(line).name) not in there]


def gpu_extra(project: Path) -> list[str]:
    """Return the extra ``[gpu]`` of a ``pyproject.toml``."""
    return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["gpu"]


def kept(resolved: Mapping[str, Mapping[str, Any]], roots: Iterable[str], left_out: Iterable[str]) -> list[str]:
    """Return which of the resolved packages are needed, as ``name==version``.

    Parameters
    ----------
    resolved
        Metadata of every package that pip would install, by canonical name.
    roots
        Requirements.
    left_out
        Names of packages that nothing imports.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        A package to leave out is not among the resolved ones, so the list is out of date.
    """
    excluded = {canonicalize_name(name) for name in left_out}
    unknown = sorted(excluded - resolved.keys())
    if unknown:
        raise ValueError(f"nothing asks for these packages, so they need not be left out: {', '.join(unknown)}")
    needed: set[str] = set()
    seen: set[Need] = set()
    pending: list[Requirement] = [Requirement(text) for text in roots]
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        need = (name, frozenset(requirement.extras))
        if name in excluded or need in seen:
            continue
        seen.add(need)
        needed.add(name)
        for text in resolved[name].get("requires_dist") or ():
            below = Requirement(text)
            extras = requirement.extras or {""}
            if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in extras):
                pending.append(below)
    return sorted(f"{name}=={resolved[name]['version']}" for name in needed)


def main() -> None:
    """Resolve and prune; then install into another environment, or write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, help="interpreter of the environment to install into")
    parser.add_argument("--target", type=Path, help="folder to install into, in place of the environment's own")
    parser.add_argument("--list", type=Path, help="file to write the packages to; pyradiomics is left to its wheel")
    parser.add_argument("--requirements", type=Path, required=True)
    parser.add_argument("--further", type=Path, help="a further list, in place of the first, whose packages are there")
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--left-out", type=Path, help="without it, everything that pip brings")
    parser.add_argument(
        "--gpu", type=Path, metavar="PYPROJECT", help="for a GPU: the file whose extra [gpu] says with what"
    )
    arguments = parser.parse_args()

    if arguments.further:
        roots, left_out = further(arguments.requirements, arguments.further), []
    else:
        roots = requested(arguments.requirements, gpu_extra(arguments.gpu) if arguments.gpu else None)
        left_out = read_list(arguments.left_out) if arguments.left_out else []
    with tempfile.TemporaryDirectory() as folder:
        _resolve_and_install(arguments, roots, left_out, Path(folder))


def _resolve_and_install(arguments: argparse.Namespace, roots: list[str], left_out: list[str], folder: Path) -> None:
    """Run pip twice, with its cache and its report in a folder that goes afterwards."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "--cache-dir",
        str(folder / "cache"),
    ]
    lock = str(arguments.lock)
    options = ["--quiet", "--constraint", lock, "--build-constraint", lock]
    report = folder / "report.json"
    # Of a further list, what is there already is neither asked for nor looked at.
    there = ["--python", str(arguments.python), "install"] if arguments.further else ["install", "--ignore-installed"]
    subprocess.run([*pip, *there, "--dry-run", "--report", str(report), *options, *roots], check=True)
    installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    resolved: dict[str, Any] = {canonicalize_name(item["metadata"]["name"]): item["metadata"] for item in installs}
    everything = sorted(f"{name}=={item['version']}" for name, item in resolved.items())
    packages = everything if arguments.further else kept(resolved, roots, left_out)
    print("left out:", *(package for package in everything if package not in packages), sep="\n  ")
    print("installed:", *packages, sep="\n  ")
    if arguments.list:
        indexed = [package for package in packages if not package.startswith("pyradiomics-bhklab==")]
        arguments.list.write_text("\n".join(indexed) + "\n", encoding="utf-8")
    if arguments.python is None:
        return
    into = [*pip, "--python", str(arguments.python), "install", "--no-deps"]
    if arguments.target:
        into += ["--target", str(arguments.target)]
    subprocess.run([*into, *options, *packages], check=True)


if __name__ == "__main__":
    main()

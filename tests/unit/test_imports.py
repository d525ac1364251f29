"""What importing a module does to the process: nothing. Only the program decides that."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


PROGRAM = """
import os, resource, sys
before = (dict(os.environ), resource.getrlimit(resource.RLIMIT_STACK))
import {module}
after = (dict(os.environ), resource.getrlimit(resource.RLIMIT_STACK))
allowed = {{"ORT_DISABLE_TELEMETRY", "GDCM_RESOURCES_PATH"}}  # the second by GDCM itself
print(sorted(name for name in set(before[0]) ^ set(after[0]) if name not in allowed))
print(before[1] == after[1])
print(any("libcudart" in line for line in open("/proc/self/maps")))
print(sorted({{"holoscan", "monai", "torch", "operators", "app", "training", "gateway"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "module", ["pdl1es", "pdl1es.settings", "pdl1es.run", "pdl1es.command_line.cli", "pdl1es.self_test"]
)
def test_importing_the_package_changes_no_limit_loads_no_framework_and_sets_no_threads(
    module: str, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)],
        env={"PYTHONPATH": str(repository), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "True", "False", "[]"]


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    ("package", "never"),
    [
        ("pdl1es", {"app", "operators", "holoscan", "monai", "torch", "lightning"}),
        ("app", {"training", "gateway"}),
        ("operators", {"training", "gateway", "app"}),
        ("gateway", {"app", "operators", "training", "holoscan", "monai", "torch"}),
        ("training", {"app", "operators", "gateway", "holoscan"}),
    ],
)
def test_the_packages_depend_on_each_other_in_one_direction(repository: Path, package: str, never: set[str]) -> None:
    """`pdl1es` knows of the training and the gateway that they have commands, and of nothing else."""
    for path in sorted((repository / package).rglob("*.py")):
        assert not imported(path) & never, path
        if package == "pdl1es" and path.name != "cli.py":
            assert not {"training", "gateway"} & imported(path), path


WATCHED = """
import atexit, sys
heavy = {heavy}
atexit.register(lambda: print("LOADED", sorted(heavy & set(sys.modules)), file=sys.stderr))
from pdl1es.command_line.cli import main
sys.argv = ["pdl1es", *{arguments}]
main()
"""


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--version"], {"rich", "numpy", "pydicom", "pydantic"}),
        (["--help"], {"numpy", "pydicom", "pydantic", "onnxruntime", "yaml"}),
        (["inspect", "{study}"], {"onnxruntime", "highdicom", "radiomics", "SimpleITK", "scipy", "reportlab"}),
        (["run", "{study}", "{out}"], {"holoscan", "monai", "scipy.ndimage", "reportlab", "pdl1es.phantom"}),
    ],
)
def test_a_command_loads_no_library_that_it_has_no_use_for(
    arguments: list[str], heavy: set[str], phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    filled = [argument.format(study=phantom_study.folder, out=tmp_path / "out") for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(heavy=heavy, arguments=filled)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "LOADED []"

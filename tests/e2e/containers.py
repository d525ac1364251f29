"""A Docker daemon to test images with: the machine's own, or one of Debian's that ends with the tests."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

DAEMON_SCRIPT = Path(__file__).with_name("docker_daemon.sh")
NO_DAEMON = 75
READY_SECONDS = 420
HARDENED = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp:mode=1777"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
"""How docs/deploy.md runs the image."""
CPU_TAG = "pdl1es:test-cpu"
GATEWAY_TAG = "pdl1es:test-gateway"
WHEN = "1737016200"
"""SOURCE_DATE_EPOCH of every run here."""
MAY_DIFFER = {"python", "onnxruntime", "onnxruntime-gpu"}
"""Versions that image and bare run do not share: the base image's Python, and which onnxruntime was chosen."""


@dataclass(frozen=True, slots=True)
class Images:
    """What stands for the base images: their own names where a registry is in reach."""

    python: str
    ubuntu: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Docker:
    """The command line of a daemon that answers."""

    program: str
    environment: Mapping[str, str]
    images: Images

    def __call__(self, *arguments: str | Path, check: bool = True, timeout: float = 900) -> Ended:
        """Run ``docker ARGUMENTS``; fail the test with its output where it should have succeeded."""
        started = time.monotonic()
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        ended = Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
        if check and ended.code != 0:
            pytest.fail(f"docker {' '.join(map(str, arguments))}\nended with {ended.code}:\n{tail(ended)}")
        return ended

    def build(self, folder: Path, tag: str, *options: str) -> float:
        """Build an image and return the seconds it took."""
        return self("build", "--network", "host", "--progress", "plain", "--tag", tag, *options, folder).seconds


@dataclass(frozen=True, slots=True)
class Container:
    """How a container of an image is run on a study.

    Attributes
    ----------
    docker, image
        Where and what.
    user
        ``uid:gid``, or None for the image's own.
    options
        Further options of ``docker run``.
    """

    docker: Docker
    image: str
    user: str | None = "4242:4243"
    options: Sequence[str] = field(default_factory=tuple)

    def run(self, *command: str, study: Path | None = None, output: Path | None = None) -> Ended:
        """Run it hardened, the study mounted read-only, and return how it ended."""
        options = [*HARDENED, "--rm", "--env", f"SOURCE_DATE_EPOCH={WHEN}", *self.options]
        if self.user is not None:
            options += ["--user", self.user]
        if study is not None:
            options += ["--volume", f"{study}:/var/holoscan/input:ro"]
        if output is not None:
            options += ["--volume", f"{output}:/var/holoscan/output"]
        return self.docker("run", *options, self.image, *command, check=False)


def build_options(docker: Docker) -> list[str]:
    """How the images for CPUs are built here."""
    arguments = ("ORT=onnxruntime", f"PYTHON_IMAGE={docker.images.python}", "REVISION=test")
    return [text for argument in arguments for text in ("--build-arg", argument)]


@dataclass(frozen=True, slots=True)
class Figures:
    """What benchmarks/results/container.md is written from."""

    lines: list[str]

    def add(self, text: str) -> None:
        """Keep a line, and print it."""
        print(text)
        self.lines.append(text)


def shell(container: Container, command: str) -> Ended:
    """Run a shell command in the image."""
    return replace(container, options=("--entrypoint", "sh")).run("-c", command)


def assert_bill_is_whole(container: Container) -> None:
    """Every Python and Debian package of an image is in its bill of materials and has its licence; none is under the GPL."""
    bill = json.loads(shell(container, "cat /opt/holoscan/docs/sbom.cdx.json").out)
    assert bill["bomFormat"] == "CycloneDX"
    named = {part["name"].lower().replace("_", "-") for part in bill["components"]}
    lister = (
        "import importlib.metadata as m; "
        "print(*sorted({d.metadata['Name'].lower().replace('_', '-') for d in m.distributions()}))"
    )
    installed = set(replace(container, options=("--entrypoint", "python3")).run("-c", lister).out.split())
    assert installed - named == set()
    debian = set(shell(container, "dpkg-query --show --showformat '${Package} '").out.split())
    assert (
        debian - {part["name"] for part in bill["components"] if part.get("purl", "").startswith("pkg:deb/")} == set()
    )
    assert [part["name"] for part in bill["components"] if part["type"] == "machine-learning-model"]
    table = shell(container, "cat /opt/holoscan/docs/licences.md").out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")][
        1:
    ]
    assert {row[0] for row in rows} == {name.replace(".", "-") for name in installed}
    assert [row for row in rows if "not stated" in row[2]] == []
    # What is linked into the application must not bring the GPL's terms with it.
    assert [row for row in rows if "GPL" in row[2] and "LGPL" not in row[2]] == []


def tail(ended: Ended, characters: int = 3000) -> str:
    """Return the end of what was printed."""
    return f"{ended.out}\n{ended.err}"[-characters:]


def open_folder(folder: Path) -> Path:
    """Make a folder that any user may write to, below folders that any user may enter."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return folder


def readable(folder: Path) -> Path:
    """Let any user read a folder and what is in it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@contextmanager
def docker_daemon() -> Iterator[Docker]:
    """Give the machine's daemon where one answers; else start one, and remove it with all that it holds.

    ``PDL1ES_DOCKER_STATE`` names a folder to keep the daemon's images in, for whoever runs these tests again and again.
    """
    own = shutil.which("docker")
    if own is not None and subprocess.run([own, "version"], capture_output=True).returncode == 0:
        yield Docker(own, {"DOCKER_BUILDKIT": "1"}, Images("python:3.11-slim-bookworm", "ubuntu:24.04"))
        return
    kept = os.environ.get("PDL1ES_DOCKER_STATE")
    state = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="pdl1es-docker-"))
    state.mkdir(parents=True, exist_ok=True)
    with (state / "script.log").open("wb") as log:
        script = subprocess.Popen([DAEMON_SCRIPT, state], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        if not _ready(script):
            script.wait(timeout=60)
            why = (state / "script.log").read_text(errors="replace").strip().splitlines() or ["it gave no reason"]
            if script.returncode == NO_DAEMON:
                pytest.skip(why[-1])
            pytest.fail(f"{DAEMON_SCRIPT.name} ended with {script.returncode}: {why[-1]}")
        programs = state / "programs" / "usr"
        environment = {
            "DOCKER_HOST": f"unix://{state}/docker.sock",
            "DOCKER_CONFIG": str(state / "config"),
            "DOCKER_BUILDKIT": "1",
            "PATH": f"{programs / 'bin'}:{programs / 'sbin'}:{os.environ['PATH']}",
        }
        images = Images("pdl1es-test/python:3.11-bookworm", "pdl1es-test/ubuntu:24.04")
        yield Docker(str(programs / "bin" / "docker"), environment, images)
    finally:
        script.terminate()
        script.wait(timeout=60)
        if not kept:
            shutil.rmtree(state, ignore_errors=True)


def _ready(script: subprocess.Popen[str]) -> bool:
    """Wait for the script's word, and no longer than it may take."""
    assert script.stdout is not None
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if select.select([script.stdout], [], [], 1.0)[0]:
            return script.stdout.readline().strip() == "ready"
        if script.poll() is not None:
            return False
    script.terminate()
    return False


def bare_run(repository: Path, study: Path, output: Path) -> int:
    """Run the chain on this machine as a MAP is run, without a container."""
    environment = os.environ | {
        "HOLOSCAN_INPUT_PATH": str(study),
        "HOLOSCAN_OUTPUT_PATH": str(output),
        "HOLOSCAN_MODEL_PATH": str(repository / "models"),
        "SOURCE_DATE_EPOCH": WHEN,
    }
    return subprocess.run([sys.executable, repository / "app"], env=environment, capture_output=True).returncode


def megabytes(size: str) -> float:
    """Return docker's ``12.3MB`` as a number."""
    match = re.fullmatch(r"([\d.e+]+)\s*([kMG]?B)", size.strip())
    assert match, size
    return float(match[1]) * {"B": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}[match[2]]


def result_of(folder: Path) -> dict[str, Any]:
    """``result.json`` of a run."""
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what may differ between the image and a bare run: times, and versions of ``MAY_DIFFER``."""
    versions = {name: version for name, version in result["versions"].items() if name not in MAY_DIFFER}
    return {**{name: value for name, value in result.items() if name != "seconds"}, "versions": versions}


def reports_of(folder: Path) -> dict[str, bytes]:
    """Every DICOM object of a run, by file name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.dcm"))}

"""``make map``: MONAI Deploy's own packager makes the MAP, on Ubuntu 24.04 with its Python 3.12."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.utils import canonicalize_name

from tests.e2e.containers import (
    Container,
    Docker,
    bare_run,
    open_folder,
    readable,
    reports_of,
    result_of,
    tail,
    timeless,
)

pytestmark = pytest.mark.timeout(1800)  # the first test waits for a daemon and a build

TAG = "pdl1es-map:test"
CUDA_KEYRING = re.compile(r"RUN rm -f /etc/apt/sources\.list\.d/cuda\*\.list \\\n(?:    &&[^\n]*\n)+")
"""The step of the packager's Dockerfile that renews NVIDIA's key, on a base that is not NVIDIA's."""


@pytest.fixture(scope="module")
def ubuntu(docker: Docker) -> str:
    """What stands for NVIDIA's base image: Ubuntu 24.04, as it is, without CUDA."""
    if docker("image", "inspect", docker.images.ubuntu, check=False).code != 0 and "test" in docker.images.ubuntu:
        pytest.skip("Ubuntu's archive is not in reach, so there is no Ubuntu 24.04 to build the MAP on")
    return docker.images.ubuntu


@pytest.fixture(scope="module")
def context(docker: Docker, ubuntu: str, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The complete build context that the packager made, with the stand-in as its base image."""
    source = tmp_path_factory.mktemp("map") / "source.json"
    release = {"debian-version": "4.2.0.1-1", "wheel-version": "4.2.0", "base-images": {"dgpu": ubuntu}}
    images: dict[str, dict[str, str]] = {"dgpu": {}, "igpu": {}, "cpu": {}}
    probes = {"linux/amd64": "none", "linux/arm64": "none"}
    source.write_text(json.dumps({"4.2.0": {"holoscan": release | {"build-images": images}, "health-probes": probes}}))
    environment = (
        os.environ
        | docker.environment
        | {
            "DOCKER": docker.program,
            "DOCKER_BUILD_FLAGS": f"--network host --build-arg UBUNTU_IMAGE={ubuntu}",
            "MAP_CONTEXT_ONLY": "1",
            "MAP_SOURCE": str(source),
            "ORT": "onnxruntime",
        }
    )
    done = subprocess.run(["make", "map"], cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"[-3000:]
    return repository / "build" / "map" / "context"


@pytest.fixture(scope="module")
def manifests(repository: Path) -> ModuleType:
    """package/manifests.py, which writes the manifests of the image that the Dockerfile makes."""
    spec = importlib.util.spec_from_file_location("manifests", repository / "package" / "manifests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def container(docker: Docker, context: Path, ubuntu: str, tmp_path_factory: pytest.TempPathFactory) -> Container:
    """The context built, but for the step that asks NVIDIA's server for a key.

    The base image is the stand-in already; the packager's Python (3.12.3) and pip are installed as it says.
    """
    dockerfile = (context / "Dockerfile").read_text(encoding="utf-8")
    assert dockerfile.count(f"FROM {ubuntu} AS base") == 1
    assert len(CUDA_KEYRING.findall(dockerfile)) == 1
    assert dockerfile.count("ENV PYTHON_VERSION=3.12.3-*") == 1
    folder = tmp_path_factory.mktemp("context") / "map"
    shutil.copytree(context, folder)
    (folder / "Dockerfile").write_text(CUDA_KEYRING.sub("", dockerfile), encoding="utf-8")
    arguments = ("UID=1000", "GID=1000", "UNAME=holoscan", "GPU_TYPE=dgpu")
    docker.build(folder, TAG, *(text for argument in arguments for text in ("--build-arg", argument)))
    # pip installs below the user's home: this MAP runs as its own user alone.
    return Container(docker, TAG, user=None)


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but what was compiled, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".pyc", ".so")
    }


def test_the_context_holds_the_application_the_model_and_the_documents_and_nothing_else(
    context: Path, repository: Path
) -> None:
    found = files_below(context)
    expected: dict[str, bytes] = {"app/__main__.py": (repository / "package" / "map_main.py").read_bytes()}
    for folder in ("app", "operators", "pdl1es"):
        expected |= {f"app/{folder}/{name}": data for name, data in files_below(repository / folder).items()}
    expected |= {f"models/{name}": data for name, data in files_below(repository / "models").items()}
    expected |= {f"docs/{name}": data for name, data in files_below(repository / "docs").items()}
    expected |= {f"docs/{name}": (repository / name).read_bytes() for name in ("LICENSE", "README.md")}
    expected["app.config"] = (repository / "app.yaml").read_bytes()
    assert {name: found.get(name) == data for name, data in expected.items()} == dict.fromkeys(expected, True)
    made_here = {
        name for name in found if name.startswith(("app/radiomics/", "app/pyradiomics_bhklab-3.1.4.dist-info/"))
    }
    by_packager = {"Dockerfile", ".dockerignore", "tools", "map/app.json", "map/pkg.json", "pip/requirements.txt"}
    assert found.keys() - expected.keys() - made_here - by_packager == {"app/requirements.txt"}
    assert found["app/requirements.txt"].split() == found["pip/requirements.txt"].split()


def test_the_packagers_manifests_are_those_of_the_dockerfile(
    context: Path, repository: Path, manifests: ModuleType
) -> None:
    """One application, two ways to an image: orchestrators read the same in both."""
    settings = yaml.safe_load((repository / "app.yaml").read_text(encoding="utf-8"))
    application = json.loads((context / "map" / "app.json").read_text())
    package = json.loads((context / "map" / "pkg.json").read_text())
    ours = manifests.application_manifest(settings, "4.0.0")
    # The packager gives input and output relative to the working directory; its image sets the same variables absolute.
    relative = {"HOLOSCAN_INPUT_PATH": "input/", "HOLOSCAN_OUTPUT_PATH": "output/"}
    assert application == ours | {"environment": ours["environment"] | relative}
    assert package == manifests.package_manifest(settings, repository / "models") | {"platformConfig": "dgpu"}


def test_the_entry_point_differs_from_the_packagers_in_the_one_word_that_keeps_the_exit_code(
    context: Path, repository: Path
) -> None:
    (original,) = (repository / ".venv-map").glob("lib/python3*/site-packages/holoscan_cli/packager/templates/tools.sh")
    before, after = original.read_text().splitlines(), (context / "tools").read_text().splitlines()
    changed = [(old.strip(), new.strip()) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [('eval ${command} "$@"', 'eval exec ${command} "$@"')]


def test_every_package_of_the_map_has_its_exact_version(context: Path, repository: Path) -> None:
    packages = (context / "pip" / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.+]+", package) for package in packages)
    locked = [
        line.split()[0] for line in (repository / "lock.txt").read_text().splitlines() if "==" in line.split(";")[0]
    ]
    versions: dict[str, str] = {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in locked)
    }
    own = dict(package.split("==") for package in packages)
    # pip is the one exception: package/map.sh says why.
    assert {name: version for name, version in own.items() if versions.get(name) != version} == {"pip": "25.3"}
    assert {"holoscan-cu13", "monai-deploy-app-sdk", "onnxruntime"} <= own.keys()
    assert "torch" not in own


def test_pyradiomics_and_the_kernels_are_there_built_for_the_images_python(context: Path) -> None:
    folder = context / "app"
    assert (folder / "pdl1es" / "features" / "compiled.abi3.so").is_file()
    assert [path.name for path in (folder / "radiomics").glob("_cmatrices*.so")] == [
        "_cmatrices.cpython-312-x86_64-linux-gnu.so"
    ]
    assert "Tag: cp312-cp312-linux_x86_64" in (folder / "pyradiomics_bhklab-3.1.4.dist-info" / "WHEEL").read_text()


def test_the_map_runs_read_only_without_network_and_gives_what_a_bare_run_gives(
    container: Container, repository: Path, readable_phantom: Path, tmp_path: Path
) -> None:
    inside, outside = open_folder(tmp_path / "container"), open_folder(tmp_path / "bare")
    ended = container.run(study=readable_phantom, output=inside)
    assert ended.code == 0, tail(ended)
    assert bare_run(repository, readable_phantom, outside) == 0
    assert result_of(inside)["versions"]["python"] == "3.12.3"
    assert timeless(result_of(inside)) == timeless(result_of(outside))
    assert reports_of(inside) == reports_of(outside)


def test_the_map_tells_an_orchestrator_of_a_refused_study(
    container: Container, readable_phantom: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    shutil.copytree(readable_phantom / "CT", study / "CT")
    ended = container.run(study=readable(study), output=open_folder(tmp_path / "output"))
    assert ended.code == 3, tail(ended)


def test_the_map_passes_its_self_test(container: Container) -> None:
    ended = container.run("self-test")
    assert ended.code == 0, tail(ended)


def test_what_is_missing_is_named_with_its_remedy(repository: Path, tmp_path: Path) -> None:
    """Before anything is built: here a Docker that does not answer."""
    silent = tmp_path / "docker"
    silent.write_text("#!/bin/sh\nexit 1\n")
    silent.chmod(0o755)
    (tmp_path / "venv").mkdir()
    done = subprocess.run(
        [repository / "package" / "map.sh", tmp_path / "venv"],
        env=os.environ | {"DOCKER": str(silent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "The Docker daemon does not answer." in done.stderr
    assert "Remedy:" in done.stderr

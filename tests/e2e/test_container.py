"""The image as a hospital runs it: built, then run read-only, without network, as another user than its own."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pdl1es.settings import Settings, load_settings
from tests.e2e.containers import (
    CPU_TAG,
    Container,
    Ended,
    Figures,
    assert_bill_is_whole,
    bare_run,
    megabytes,
    open_folder,
    readable,
    reports_of,
    result_of,
    shell,
    tail,
    timeless,
)

pytestmark = pytest.mark.timeout(1800)  # the first test waits for a daemon and a build

PEAK_MEMORY = (
    "import resource, subprocess, sys; code = subprocess.call(['/var/holoscan/tools']); "
    "print('PEAK', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
)


@pytest.fixture(scope="module")
def settings(repository: Path) -> Settings:
    """``app.yaml`` as it ships."""
    return load_settings(repository / "app.yaml")


def assert_same_run(container: Container, repository: Path, study: Path, folder: Path) -> Ended:
    """Score a study in the container and bare; both must agree to the last bit."""
    inside, outside = open_folder(folder / "container"), open_folder(folder / "bare")
    container = replace(container, options=("--entrypoint", "python3"))
    ended = container.run("-c", PEAK_MEMORY, study=study, output=inside)
    assert ended.code == 0, tail(ended)
    assert bare_run(repository, study, outside) == 0
    assert timeless(result_of(inside)) == timeless(result_of(outside))
    assert reports_of(inside) == reports_of(outside)
    assert reports_of(inside)
    return ended


def test_the_image_is_small_and_holds_neither_torch_nor_a_compiler_nor_pip(
    container: Container, figures: Figures
) -> None:
    size = int(container.docker("image", "inspect", "--format", "{{.Size}}", CPU_TAG).out)
    figures.add(f"- unpacked: {size / 1e9:.2f} GB")
    layers = container.docker(
        "history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", CPU_TAG
    ).out.splitlines()
    for layer in layers:
        weight, _, made_by = layer.partition("\t")
        if megabytes(weight) >= 0.5:
            figures.add(f"  - {megabytes(weight):.0f} MB: {made_by.removesuffix(' # buildkit')[:60] or 'base image'}")
    assert size < 1.4e9
    found = shell(container, "for tool in gcc cc g++ make pip pip3; do command -v $tool; done; ls /opt/venv/bin")
    programs = {Path(line).name for line in found.out.split()}
    # Debian's stand-in for the base image brings nothing of these either.
    assert programs & {"gcc", "cc", "g++", "make", "pip", "pip3"} == set()
    missing = shell(container, "cd /opt/venv/lib/python3*/site-packages && ls -d torch monai/networks cupy aiohttp")
    assert missing.out.strip() == ""
    weights = shell(container, "cd /opt/venv/lib/python3*/site-packages && du -sm * | sort -rn | head -12").out
    figures.add(
        "- heaviest packages (MB): " + ", ".join(" ".join(reversed(line.split())) for line in weights.splitlines())
    )


def test_the_image_is_laid_out_as_a_map(container: Container, repository: Path) -> None:
    """The files, the user, the environment and the labels that MONAI Deploy's orchestrators look for."""
    (config,) = json.loads(container.docker("image", "inspect", "--format", "[{{json .Config}}]", CPU_TAG).out)
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["/var/holoscan/tools"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["Labels"]["org.opencontainers.image.revision"] == "test"
    assert {"org.monai.deploy.app-sdk", "org.nvidia.holoscan", "org.opencontainers.image.version"} <= set(
        config["Labels"]
    )
    listing = shell(container, "stat -c '%n %u %A' /var/holoscan /var/holoscan/* /etc/holoscan/* /opt/holoscan/*").out
    owners = {line.split()[0]: line.split()[1] for line in listing.splitlines()}
    assert owners["/var/holoscan"] == owners["/var/holoscan/output"] == "1000"
    assert {
        "/etc/holoscan/app.json",
        "/etc/holoscan/pkg.json",
        "/var/holoscan/app.yaml",
        "/var/holoscan/tools",
        "/opt/holoscan/app",
        "/opt/holoscan/models",
        "/opt/holoscan/docs",
    } <= owners.keys()
    model = repository / "models" / "pdl1es" / "model.onnx"
    inside = shell(container, "wc -c < /opt/holoscan/models/pdl1es/model.onnx").out
    assert int(inside) == model.stat().st_size


def test_show_prints_both_manifests_and_env_the_same_paths(container: Container, settings: Settings) -> None:
    application, package = manifests_shown(container.run("show").out)
    assert json.loads(application["command"]) == ["python3", "/opt/holoscan/app"]
    assert application["sdk"] == "monai-deploy"
    assert package["models"] == {"pdl1es": "/opt/holoscan/models/pdl1es"}
    assert package["resources"]["memory"] == "4Gi"
    assert application["version"] == package["version"] == settings.application.version
    environment = dict(line.split("=", 1) for line in container.run("env").out.splitlines() if "=" in line)
    assert {name: environment[name] for name in application["environment"]} == application["environment"]
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"


def manifests_shown(shown: str) -> list[Any]:
    """The JSON below each of show's headings."""
    return [json.loads(text) for text in re.split(r"=+ \w+\.json =+", shown)[1:]]


def test_extract_gives_application_manifests_models_and_documents(
    container: Container, repository: Path, tmp_path: Path
) -> None:
    export = open_folder(tmp_path / "export")
    ended = replace(container, options=("--volume", f"{export}:/var/run/holoscan/export")).run("extract")
    assert ended.code == 0, tail(ended)
    assert sorted(path.name for path in export.iterdir()) == ["app", "config", "docs", "models"]
    assert sorted(path.name for path in (export / "config").iterdir()) == ["app.json", "app.yaml", "pkg.json"]
    for folder in ("app", "operators", "pdl1es"):
        sources = {path.relative_to(repository): path.read_bytes() for path in (repository / folder).rglob("*.py")}
        extracted = {
            path.relative_to(export / "app"): path.read_bytes() for path in (export / "app" / folder).rglob("*.py")
        }
        assert extracted == sources
    shipped = (repository / "models" / "pdl1es" / "model.onnx").read_bytes()
    assert (export / "models" / "pdl1es" / "model.onnx").read_bytes() == shipped
    assert {"LICENSE", "README.md", "deploy.md", "licences.md", "sbom.cdx.json"} <= {
        path.name for path in (export / "docs").iterdir()
    }


def test_the_bill_of_materials_names_every_package_and_every_licence_is_there(container: Container) -> None:
    assert_bill_is_whole(container)


def test_a_phantom_study_gives_what_a_bare_run_gives_to_the_last_bit(
    container: Container, repository: Path, readable_phantom: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in readable_phantom.rglob("*")}
    assert_same_run(container, repository, readable_phantom, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in readable_phantom.rglob("*")} == before
    written = {path.stat().st_uid for path in (tmp_path / "container").iterdir()}
    assert written == {4242}


def test_the_real_study_gives_what_a_bare_run_gives_and_its_cost_is_kept(
    container: Container, repository: Path, shared_data: Path, tmp_path: Path, figures: Figures
) -> None:
    """A chest CT of 99 slices with its published tumour, from a cold container to the report."""
    study = tmp_path / "study"
    shutil.copytree(shared_data / "ct_4dlung113" / "CT", study / "CT")
    shutil.copy(shared_data / "ct_4dlung113" / "seg_dcmqi.dcm", study)
    ended = assert_same_run(container, repository, readable(study), tmp_path)
    (peak,) = [int(line.split()[1]) for line in ended.err.splitlines() if line.startswith("PEAK ")]
    seconds = result_of(tmp_path / "container")["seconds"]
    slowest = sorted(seconds.items(), key=lambda item: -item[1])[:3]
    figures.add(f"- real study (99 slices, 68 mL tumour), cold container to report: {ended.seconds:.1f} s")
    figures.add(
        f"  - of these in the chain: {sum(seconds.values()):.1f} s; " + ", ".join(f"{n} {s:.1f} s" for n, s in slowest)
    )
    figures.add(f"  - peak memory: {peak / 1024:.0f} MiB")
    assert peak < 4 * 1024 * 1024, "app.yaml promises 4 GiB"


def test_a_refused_study_exits_3_and_says_why(container: Container, readable_phantom: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(readable_phantom / "CT", study / "CT")
    ended = container.run(study=readable(study), output=open_folder(tmp_path / "output"))
    assert ended.code == 3
    result = result_of(tmp_path / "output")
    assert result["status"] == "refused"
    assert result["refusal"]["remedy"]
    assert result["refusal"]["code"] in ended.err
    assert "Traceback" not in ended.out + ended.err


def test_a_broken_model_is_refused(
    container: Container, readable_phantom: Path, repository: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(repository / "models", models)
    broken = models / "pdl1es" / "model.onnx"
    broken.write_bytes(broken.read_bytes()[:-100_000])
    mounted = replace(container, options=("--volume", f"{readable(models)}:/opt/holoscan/models:ro"))
    ended = mounted.run(study=readable_phantom, output=open_folder(tmp_path / "output"))
    assert ended.code == 3
    assert result_of(tmp_path / "output")["refusal"]["code"].startswith("MODEL")
    assert list((tmp_path / "output").glob("*.dcm")) == []


def test_an_output_folder_that_cannot_be_written_is_named_as_such(
    container: Container, readable_phantom: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    output.mkdir(mode=0o755)
    ended = container.run(study=readable_phantom, output=output)
    assert ended.code == 3
    assert "OUTPUT_NOT_WRITABLE" in ended.err
    assert "Traceback" not in ended.out + ended.err
    assert list(output.iterdir()) == []


def test_mercure_finds_and_runs_it(container: Container, readable_phantom: Path, tmp_path: Path) -> None:
    """mercure reads ``command`` in /etc/monai/app.json, runs it without the entry point, and mounts its own folders.

    Its input is flat and holds task.json; it routes ``*.dcm`` at the top of the output and logs result.json whole.
    """
    manifest = json.loads(shell(container, "cat /etc/monai/app.json").out)
    study, output = tmp_path / "in", open_folder(tmp_path / "out")
    study.mkdir()
    files = [path for path in sorted(readable_phantom.rglob("*")) if path.is_file() and path.suffix == ".dcm"]
    for number, file in enumerate(files):
        shutil.copy(file, study / f"1.2.3#{number}.dcm")
    (study / "task.json").write_text(json.dumps({"id": "1", "info": {"patient_name": "x"}, "process": {}}))
    paths = {"MERCURE_IN_DIR": "/tmp/data", "MERCURE_OUT_DIR": "/tmp/output"}
    paths |= {"MONAI_INPUTPATH": "/tmp/data", "MONAI_OUTPUTPATH": "/tmp/output"}
    paths |= {"HOLOSCAN_INPUT_PATH": "/tmp/data", "HOLOSCAN_OUTPUT_PATH": "/tmp/output"}
    options = [text for name, value in paths.items() for text in ("--env", f"{name}={value}")]
    options += ["--volume", f"{readable(study)}:/tmp/data", "--volume", f"{output}:/tmp/output"]
    program, *arguments = shlex.split(manifest["command"])
    as_mercure = replace(container, user="1003:1003", options=(*options, "--entrypoint", program))
    ended = as_mercure.run(*arguments)
    assert ended.code == 0, tail(ended)
    result_text = (output / "result.json").read_text()
    reports = sorted(path.name for path in output.glob("*.dcm"))
    assert reports == sorted(report["file"] for report in json.loads(result_text)["reports"])
    header = pydicom.dcmread(files[0], stop_before_pixels=True)
    for keyword in ("PatientName", "PatientID", "StudyDate", "AccessionNumber", "PatientBirthDate"):
        value = str(header.get(keyword, ""))
        assert not value or value not in result_text + ended.out + ended.err, f"{keyword} was logged"


def test_the_workflow_managers_docker_task_runs_it(
    container: Container, readable_phantom: Path, tmp_path: Path
) -> None:
    """MONAI Deploy's Task Manager replaces the entry point by a shell and gives every path as a variable."""
    output = open_folder(tmp_path / "output")
    options = ("--volume", f"{readable_phantom}:/var/lib/mde/in:ro", "--volume", f"{output}:/var/lib/mde/out")
    paths = ("--env", "HOLOSCAN_INPUT_PATH=/var/lib/mde/in", "--env", "HOLOSCAN_OUTPUT_PATH=/var/lib/mde/out")
    task = replace(container, user="1000:1000", options=(*options, *paths, "--entrypoint", "/bin/bash"))
    ended = task.run("-c", "python3 -u /opt/holoscan/app/")
    assert ended.code == 0, tail(ended)
    assert reports_of(output)


def test_the_self_test_passes_without_a_network_on_a_read_only_root(container: Container) -> None:
    ended = container.run("self-test")
    assert ended.code == 0, tail(ended)
    assert "PASSED" in ended.out


def test_the_health_check_tells_a_writable_output_from_another(container: Container, tmp_path: Path) -> None:
    (config,) = json.loads(container.docker("image", "inspect", "--format", "[{{json .Config}}]", CPU_TAG).out)
    kind, command = config["Healthcheck"]["Test"]
    assert kind == "CMD-SHELL"
    in_shell = replace(container, options=("--entrypoint", "sh"))
    assert in_shell.run("-c", command, output=open_folder(tmp_path / "open")).code == 0
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    assert in_shell.run("-c", command, output=closed).code != 0


def with_settings(container: Container, repository: Path, folder: Path, old: str, new: str) -> Container:
    """The image with a site's own app.yaml, one line of it changed."""
    text = (repository / "app.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = folder / "app.yaml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    file.chmod(0o644)
    return replace(container, options=("--volume", f"{file}:/var/holoscan/app.yaml:ro"))


def test_a_gpu_that_is_required_and_not_there_is_a_refusal(
    container: Container, repository: Path, readable_phantom: Path, tmp_path: Path
) -> None:
    strict = with_settings(container, repository, tmp_path, "require_gpu: false", "require_gpu: true")
    ended = strict.run(study=readable_phantom, output=open_folder(tmp_path / "output"))
    assert ended.code == 3
    assert result_of(tmp_path / "output")["refusal"]["code"] == "PROVIDER_UNAVAILABLE"


def test_a_wrong_setting_ends_with_2_and_names_the_key(
    container: Container, repository: Path, readable_phantom: Path, tmp_path: Path
) -> None:
    wrong = with_settings(container, repository, tmp_path, "require_gpu: false", "require_gpu: perhaps")
    ended = wrong.run(study=readable_phantom, output=open_folder(tmp_path / "output"))
    assert ended.code == 2
    assert "model.require_gpu" in ended.err

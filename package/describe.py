"""Say what the image holds: a CycloneDX bill of materials, and the licence texts of all that is shipped."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from email.parser import Parser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

LICENCE_FILE = re.compile(r"(^|/)(licen[cs]es?|copying|notice|authors|eula|[^/]*-eula)[^/]*$", re.IGNORECASE)
SCHEMA = SchemaVersion.V1_6


def python_packages(python: Path) -> dict[str, Any]:
    """Return the bill of materials that cyclonedx-py makes of an environment."""
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "environment", str(python)]
    options = ["--output-reproducible", "--spec-version", SCHEMA.to_version(), "--output-format", "JSON"]
    made = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    return json.loads(made.stdout)


def debian_packages(status: Path, os_release: Path) -> Iterator[dict[str, Any]]:
    """Yield a component for every installed Debian package.

    Parameters
    ----------
    status
        ``/var/lib/dpkg/status`` of the image.
    os_release
        ``/etc/os-release`` of the image.

    Yields
    ------
    dict[str, Any]
        A CycloneDX component with its package URL.
    """
    release = dict(line.split("=", 1) for line in os_release.read_text(encoding="utf-8").splitlines() if "=" in line)
    system, code = release["ID"].strip('"'), release.get("VERSION_CODENAME", "").strip('"')
    for stanza in status.read_text(encoding="utf-8").split("\n\n"):
        field = Parser().parsestr(stanza, headersonly=True)
        if not (field["Status"] or "").endswith(" installed"):
            continue
        purl = f"pkg:deb/{system}/{field['Package']}@{field['Version']}?arch={field['Architecture']}&distro={code}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": field["Package"],
            "version": field["Version"],
            "purl": purl,
        }


def model_files(models: Path) -> Iterator[dict[str, Any]]:
    """Yield a component for every model, with its digest."""
    for file in sorted(models.glob("*/model.onnx")):
        metadata = json.loads(file.with_name("metadata.json").read_text(encoding="utf-8"))
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{file.parent.name}",
            "name": metadata["name"],
            "version": metadata["version"],
            "description": metadata["description"],
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}],
        }


def bill_of_materials(python: Path, status: Path, os_release: Path, models: Path, version: str) -> dict[str, Any]:
    """Return the whole bill: Python packages, Debian packages, models.

    Parameters
    ----------
    python
        Interpreter of the environment whose packages are listed.
    status, os_release
        As of `debian_packages`.
    models
        Folder with one folder per model.
    version
        Of the image.

    Returns
    -------
    dict[str, Any]
        CycloneDX, as JSON has it.

    Raises
    ------
    ValueError
        Where CycloneDX's schema does not allow it.
    """
    bill = python_packages(python)
    bill.setdefault("metadata", {})["component"] = {
        "type": "container",
        "bom-ref": "pdl1es",
        "name": "pdl1es",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    bill["components"] = [
        *bill["components"],
        *sorted(debian_packages(status, os_release), key=lambda component: component["purl"]),
        *model_files(models),
    ]
    fault = JsonStrictValidator(SCHEMA).validate_str(json.dumps(bill))
    if fault is not None:
        raise ValueError(f"the bill of materials is not CycloneDX {SCHEMA.to_version()}: {fault}")
    return bill


def licence_of(metadata: Mapping[str, Any], classifiers: list[str]) -> str:
    """Return a package's licence as its metadata name it.

    Parameters
    ----------
    metadata
        Core metadata fields by name.
    classifiers
        The package's trove classifiers.

    Returns
    -------
    str
        An SPDX expression, a classifier's words, or ``not stated``.
    """
    if expression := metadata.get("License-Expression"):
        return str(expression)
    named = [text.rpartition("::")[2].strip() for text in classifiers if text.startswith("License ::")]
    if named:
        return "; ".join(named)
    return str(metadata.get("License") or "not stated").strip().splitlines()[0][:80]


def copy_licences(packages: Path, into: Path) -> list[tuple[str, str, str, int]]:
    """Copy every licence file of an environment's packages.

    Parameters
    ----------
    packages
        Folder of the installed packages.
    into
        Folder that gets one folder per package.

    Returns
    -------
    list of tuple
        Name, version, licence, number of files; by name.
    """
    rows: list[tuple[str, str, str, int]] = []
    for found in sorted(distributions(path=[str(packages)]), key=lambda one: canonicalize_name(one.metadata["Name"])):
        name = canonicalize_name(found.metadata["Name"])
        folder = into / f"{name}-{found.version}"
        files = [file for file in licence_files(found) if file.is_file()]
        for number, file in enumerate(files):
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / file.name
            shutil.copyfile(file, target if not target.exists() else folder / f"{number}-{file.name}")
        licence = licence_of(
            {key: found.metadata[key] for key in found.metadata}, found.metadata.get_all("Classifier") or []
        )
        rows.append((name, found.version, licence, len(files)))
    return rows


def licence_files(found: Distribution) -> list[Path]:
    """Return the licence files that a package records, its bundled libraries' included."""
    return sorted(
        Path(str(found.locate_file(file)))
        for file in found.files or ()
        if LICENCE_FILE.search(str(file)) and file.suffix.lower() not in (".py", ".pyc", ".pyi", ".so")
    )


def licence_table(rows: list[tuple[str, str, str, int]]) -> str:
    """Return the table of the packages' licences."""
    lines = [
        "# Licences of the Python packages in this image",
        "",
        "The texts that each package ships lie in the folder of its name; where there are none, the package's metadata",
        "name the licence. Debian's packages have theirs in /usr/share/doc/<package>/copyright.",
        "",
        "| package | version | licence | files |",
        "|---|---|---|---|",
        *(f"| {name} | {version} | {licence.replace('|', '/')} | {files} |" for name, version, licence, files in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write ``sbom.cdx.json``, ``licences.md`` and ``licences/``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="interpreter of the image's environment")
    parser.add_argument("--dpkg-status", type=Path, required=True)
    parser.add_argument("--os-release", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    (packages,) = arguments.python.parent.parent.glob("lib/python3*/site-packages")
    arguments.out.mkdir(parents=True, exist_ok=True)
    bill = bill_of_materials(
        arguments.python, arguments.dpkg_status, arguments.os_release, arguments.models, arguments.version
    )
    (arguments.out / "sbom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    rows = copy_licences(packages, arguments.out / "licences")
    (arguments.out / "licences.md").write_text(licence_table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()

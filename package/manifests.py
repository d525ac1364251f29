"""Write a MAP's manifests from ``app.yaml``, as MONAI Deploy's packager does, at the image's build.

``etc/holoscan/{app,pkg}.json`` are MONAI Deploy's. ``etc/monai/app.json`` is how mercure recognises a MAP; it passes
``command`` to Docker as a shell line, so there it is a shell line instead of JSON in a string.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

API_VERSION = "1.0.0"
COMMAND = ("python3", "/opt/holoscan/app")
ENVIRONMENT = {
    "HOLOSCAN_APPLICATION": "/opt/holoscan/app",
    "HOLOSCAN_INPUT_PATH": "/var/holoscan/input",
    "HOLOSCAN_OUTPUT_PATH": "/var/holoscan/output",
    "HOLOSCAN_WORKDIR": "/var/holoscan",
    "HOLOSCAN_MODEL_PATH": "/opt/holoscan/models",
    "HOLOSCAN_CONFIG_PATH": "/var/holoscan/app.yaml",
    "HOLOSCAN_APP_MANIFEST_PATH": "/etc/holoscan/app.json",
    "HOLOSCAN_PKG_MANIFEST_PATH": "/etc/holoscan/pkg.json",
    "HOLOSCAN_DOCS_PATH": "/opt/holoscan/docs",
    "HOLOSCAN_LOGS_PATH": "/var/holoscan/logs",
}
"""Of app.json; the Dockerfile sets the same."""


DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "application": {
        "title": "PD-L1ES - PD-L1 expression score from chest CT",
        "version": "0.1.0",
        "input-formats": ["file"],
        "output-formats": ["file"],
    },
    "resources": {"cpu": 2, "gpu": 0, "memory": "4Gi", "gpuMemory": "0Gi"},
}
"""What counts where ``app.yaml`` leaves a key out, as in `pdl1es.settings` (a test compares): the tools of the image's build
have no pydantic."""


def packaging_settings(file: Path) -> dict[str, Any]:
    """Return ``app.yaml`` with every key of the sections that manifests are made of."""
    settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    filled = {
        section: {
            **defaults,
            **{key: value for key, value in (settings.get(section) or {}).items() if value is not None},
        }
        for section, defaults in DEFAULTS.items()
    }
    return {**settings, **filled}


def application_manifest(settings: Mapping[str, Any], sdk_version: str) -> dict[str, Any]:
    """Return app.json: what is run, where its input and output are.

    Parameters
    ----------
    settings
        ``app.yaml``.
    sdk_version
        Of monai-deploy-app-sdk.

    Returns
    -------
    dict[str, Any]
    """
    application = settings["application"]
    return {
        "apiVersion": API_VERSION,
        "command": json.dumps(COMMAND),
        "environment": ENVIRONMENT,
        # The packager writes both paths relative to the working directory; so does this.
        "input": {"path": "input/", "formats": application["input-formats"]},
        "liveness": None,
        "output": {"path": "output/", "formats": application["output-formats"]},
        "readiness": None,
        "sdk": "monai-deploy",
        "sdkVersion": sdk_version,
        "timeout": 0,
        "version": application["version"],
        "workingDirectory": ENVIRONMENT["HOLOSCAN_WORKDIR"],
    }


def package_manifest(settings: Mapping[str, Any], models: Path) -> dict[str, Any]:
    """Return pkg.json: which models are inside and what the application needs to run.

    Parameters
    ----------
    settings
        ``app.yaml``.
    models
        Folder with one folder per model.

    Returns
    -------
    dict[str, Any]
    """
    root = ENVIRONMENT["HOLOSCAN_MODEL_PATH"]
    return {
        "apiVersion": API_VERSION,
        "applicationRoot": ENVIRONMENT["HOLOSCAN_APPLICATION"],
        "modelRoot": root,
        "models": {folder.name: f"{root}/{folder.name}" for folder in sorted(models.iterdir()) if folder.is_dir()},
        "resources": settings["resources"],
        "version": settings["application"]["version"],
        "platformConfig": None,
    }


def mercure_manifest(application: Mapping[str, Any]) -> dict[str, Any]:
    """Return etc/monai/app.json, whose command is a shell line."""
    return {**application, "command": shlex.join(COMMAND)}


def write_manifests(settings: Mapping[str, Any], models: Path, sdk_version: str, root: Path) -> None:
    """Write the three manifests below a root folder.

    Parameters
    ----------
    settings
        ``app.yaml``.
    models
        Folder with one folder per model.
    sdk_version
        Of monai-deploy-app-sdk.
    root
        Folder in which ``etc/`` is made.
    """
    application = application_manifest(settings, sdk_version)
    for name, manifest in (
        ("etc/holoscan/app.json", application),
        ("etc/holoscan/pkg.json", package_manifest(settings, models)),
        ("etc/monai/app.json", mercure_manifest(application)),
    ):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Read app.yaml, write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="app.yaml")
    parser.add_argument("--show-version", action="store_true", help="print the application's version, write nothing")
    parser.add_argument(
        "--complete", type=Path, help="write app.yaml with every key that MONAI Deploy's packager wants"
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--sdk-version", help="of monai-deploy-app-sdk")
    parser.add_argument("--root", type=Path, help="where etc/ is written")
    arguments = parser.parse_args()
    settings = packaging_settings(arguments.settings)
    if arguments.show_version:
        print(settings["application"]["version"])
    elif arguments.complete:
        write_complete(arguments.settings, arguments.complete)
    else:
        write_manifests(settings, arguments.models, arguments.sdk_version, arguments.root)


def write_complete(given: Path, complete: Path) -> None:
    """Write ``app.yaml`` as MONAI Deploy's packager wants it: the same bytes where no key is missing.

    Parameters
    ----------
    given
        The settings.
    complete
        The file that is written.
    """
    settings = packaging_settings(given)
    if settings == yaml.safe_load(given.read_text(encoding="utf-8")):
        complete.write_bytes(given.read_bytes())
    else:
        complete.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")


if __name__ == "__main__":
    main()

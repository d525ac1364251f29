"""Whether the packages of the extra ``gateway`` are there: the commands are, also where the wheel was installed without it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Final

PACKAGES: Final[Mapping[str, str]] = {
    "pynetdicom": "pynetdicom",
    "dicomweb-client": "dicomweb_client",
    "requests": "requests",
    "dbos": "dbos",
    "sqlalchemy": "sqlalchemy",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "prometheus-client": "prometheus_client",
}
"""The extra ``gateway`` of ``pyproject.toml``, and the module of each."""
_PROCESSES: Final = ("receiver", "executor", "web")


def missing_packages() -> list[str]:
    """Return which packages of the extra ``gateway`` are not installed."""
    return [name for name, module in PACKAGES.items() if find_spec(module) is None]


def faults_of_programs() -> Iterator[str]:
    """Import what each process of the gateway is made of, and give what cannot be.

    Yields
    ------
    str
        A process, and the package that it lacks.
    """
    for process in _PROCESSES:
        try:
            importlib.import_module(f"gateway.processes.{process}")
        except ImportError as error:
            yield f"the {process} cannot start: {error}"

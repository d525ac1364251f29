"""Real tools, written by others: what they say of our objects."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

PACKAGE_OF = {
    "dciodvfy": "Debian package dicom3tools",
    "dcentvfy": "Debian package dicom3tools",
    "dcmdump": "Debian package dcmtk",
    "dsrdump": "Debian package dcmtk",
    "dsr2html": "Debian package dcmtk",
    "tid1500reader": "Python package dcmqi",
    "segimage2itkimage": "Python package dcmqi",
}


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Return a function that gives a tool's path, or skips the test saying what to install.

    With ``PDL1ES_REQUIRE_TOOLS=1`` (continuous integration) a missing tool fails the test instead.
    """

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        reason = f"{name} is not installed: {PACKAGE_OF.get(name, 'see the documentation of the tests')}"
        if os.environ.get("PDL1ES_REQUIRE_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    return find

"""The basis of a result: the content of the input folder, and the versions of the software."""

from __future__ import annotations

import platform
from collections import Counter
from contextlib import suppress
from functools import cache
from importlib import metadata
from typing import Final

from pdl1es import __version__
from pdl1es.dicom.selection.facts import modality_of
from pdl1es.dicom.study import Study
from pdl1es.report.result_schema import InputResult, InputSeriesResult, UnreadableFilesResult

PACKAGES: Final = (
    "highdicom",
    "monai-deploy-app-sdk",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "pydicom",
    "pyradiomics",
    "pyradiomics-bhklab",
    "scipy",
    "SimpleITK",
)
"""Packages whose version can change a result. Of each pair one is installed; MONAI Deploy may be missing."""


@cache
def software_versions() -> tuple[tuple[str, str], ...]:
    """Return name and version of this software, Python and the packages that can change a result."""
    found = []
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found.append((package, metadata.version(package)))
    return (("pdl1es", __version__), ("python", platform.python_version()), *found)


def input_result(study: Study) -> InputResult:
    """Return how many objects of each series the input held, and how many files could not be read, by reason."""
    series = Counter((i.series_instance_uid, modality_of(i)) for i in study.instances)
    reasons = Counter(file.reason for file in study.unreadable)
    return InputResult(
        study_instance_uids=tuple(sorted({i.study_instance_uid for i in study.instances})),
        series=tuple(
            InputSeriesResult(series_instance_uid=uid, modality=modality, instances=count)
            for (uid, modality), count in sorted(series.items())
        ),
        ignored_files=study.ignored_files,
        unreadable=tuple(
            UnreadableFilesResult(reason=reason, files=count) for reason, count in sorted(reasons.items())
        ),
    )

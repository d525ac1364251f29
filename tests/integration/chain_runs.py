"""What the tests of the chain look at after a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.errors import Refusal, RefusalCode
from pdl1es.inspection import inspect_folder
from pdl1es.model.folder import MODEL_FILE
from pdl1es.model.fusion import FusionModel
from pdl1es.outcome import Outcome
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.settings import Settings

LENIENT = PlausibilityRules.model_validate(
    {
        name: "warn"
        for name, field in PlausibilityRules.model_fields.items()
        if field.default in ("refuse", "withhold_group", "warn")
    }
)
"""For specimens that are no lung tumour on a CT of a chest, and are there to be read."""
DOUBTS = frozenset(
    [
        "VALUES_NOT_HU",
        "OVERLAPPING_PASSES",
        "CONTOUR_GAPS",
        "SEVERAL_BODIES",
        "TUMOUR_ATTENUATION",
        "TUMOUR_SIZE",
        "SCAN_ENDS_AT_TUMOUR",
        "SCAN_ENDS_IN_PATCH",
        "NEAR_SCAN_END",
        "CONTOUR_HOLLOW",
        "CONTOUR_OFF_EDGE",
        "PADDING_NEAR_TUMOUR",
        "SLICES_SPARSE",
        "SLICES_FOREIGN",
        "CONTOUR_FEW_PLANES",
    ]
)
"""Codes of the warnings about plausibility."""
WHEN = datetime(2025, 1, 16, 8, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scored:
    """What one run left behind."""

    outcome: Outcome
    folder: Path

    @property
    def result(self) -> dict[str, Any]:
        """``result.json`` as it lies in the output folder."""
        return json.loads((self.folder / "result.json").read_text(encoding="utf-8"))

    @property
    def report_bytes(self) -> bytes:
        """The one SR file."""
        (file,) = self.folder.glob("*.dcm")
        return file.read_bytes()

    @property
    def report(self) -> Dataset:
        """The one SR."""
        (file,) = self.folder.glob("*.dcm")
        return pydicom.dcmread(file)

    @property
    def code(self) -> str:
        """The refusal's code, or ``scored``."""
        return self.outcome.refusal.code.name if self.outcome.refusal else "scored"


Score = Callable[..., Scored]

_loaded: dict[tuple[object, ...], FusionModel] = {}


@contextmanager
def models_loaded_once() -> Iterator[None]:
    """Load each model once for all runs within: that takes a third of a run's time."""
    load = FusionModel.load

    def once(folder: Path, *, require_gpu: bool = False, threads: int = 2) -> FusionModel:
        file = folder / MODEL_FILE
        key = (file, file.stat().st_mtime_ns if file.is_file() else None, require_gpu, threads)
        if key not in _loaded:
            _loaded[key] = load(folder, require_gpu=require_gpu, threads=threads)
        return _loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FusionModel, "load", once)
        yield


_inspected: set[tuple[Path, str]] = set()


def assert_inspection_agrees(study: Path, settings: Settings, clinical: Path | None, outcome: Outcome) -> None:
    """Hold what `pdl1es inspect` says of a study against what a run did: every study that a test makes is tried.

    Parameters
    ----------
    study, settings, clinical
        What was run.
    outcome
        How the run ended.
    """
    key = (study, settings.model_dump_json())
    if key in _inspected or outcome.result is None:
        return
    _inspected.add(key)
    try:
        inspection = inspect_folder(study, settings, clinical)
        refusal, warnings = inspection.refusal, inspection.warnings
    except Refusal as refused:
        refusal, warnings = refused, ()
    stage = outcome.refusal.code.row.stage if outcome.refusal is not None else None
    if stage in ("study_loader", "series_selection"):
        assert refusal is not None
        assert str(refusal) == str(outcome.refusal)
    elif outcome.refusal is None:
        assert refusal is None
        told = [(warning.code, warning.effect) for warning in outcome.result.warnings]
        assert [(w.code, w.effect) for w in warnings if (w.code, w.effect) not in told] == []
    else:  # the pixels told otherwise, or a header's NOT_HU, which is of the step that reads pixels
        agrees = refusal is None or str(refusal) == str(outcome.refusal)
        assert agrees or (refusal is not None and refusal.code is RefusalCode.CLINICAL_INVALID)

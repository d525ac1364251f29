"""The digest of everything that goes into a report: one report for each digest.

Two runs with one digest get the same objects, clinical values, model and settings; so the second is not made. The report's time
is no part of it, nor are this software's own earlier reports, which a report names as its predecessors.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from pdl1es import __version__
from pdl1es.clinical import ClinicalRecord
from pdl1es.settings import Settings

_WITHOUT_EFFECT: Final[Any] = {"application": True, "resources": True, "log": True, "report": {"file_mode"}}
"""Of ``app.yaml``: what changes no byte of a report."""


def settings_digest(settings: Settings) -> str:
    """Return the SHA-256 of every setting that can change a report.

    Parameters
    ----------
    settings
        ``app.yaml``.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return _sha256(settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT))


def clinical_digest(record: ClinicalRecord | None, *, table: bool, ambiguous: bool = False) -> str:
    """Return the SHA-256 of what the clinical table says of a patient.

    Parameters
    ----------
    record
        The patient's row; None where there is none.
    table
        Whether there is a table: its report warns where the patient has no row.
    ambiguous
        Whether several rows are the patient's: such a run cannot be made before the table is mended.

    Returns
    -------
    str
        64 hexadecimal digits; how the table is written (order, spaces, other patients) does not count.
    """
    return _sha256([table, ambiguous, None if record is None else record.model_dump(mode="json")])


def input_digest(*, objects: str, clinical: str, model: str, settings: str, software: str = __version__) -> str:
    """Return the digest of everything that goes into a run.

    Parameters
    ----------
    objects
        Digest of the objects: contour and CT series.
    clinical
        From `clinical_digest`.
    model
        SHA-256 of ``model.onnx``.
    settings
        From `settings_digest`; they choose the segment.
    software
        Version of this software.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return _sha256(
        {"objects": objects, "clinical": clinical, "model": model, "settings": settings, "software": software}
    )


def returned_digest(digest: str, after: str) -> str:
    """Return the digest of an input that has come back after another took its place: its report names that one's.

    Parameters
    ----------
    digest
        Of the input, when it was run before.
    after
        Of the result that superseded that run's.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return _sha256({"again": digest, "after": after})


def _sha256(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()

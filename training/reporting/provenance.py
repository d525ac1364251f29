"""Says what was evaluated and by which model, without paths and patients."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from pdl1es import __version__
from pdl1es.method_digest import method_digest
from training.cohort.prepared import PreparedCohort, cohort_digest
from training.cohort.table import CheckedTable

MODEL, MODEL_DIGEST, COHORT_DIGEST = "Model", "Model's SHA-256", "Cohort's SHA-256"


def provenance_of(prepared: PreparedCohort, model: str, digest: str | None = None) -> dict[str, str]:
    """Return what was evaluated and by what.

    Parameters
    ----------
    prepared
        The cohort.
    model
        The model's name and version, in words.
    digest
        SHA-256 of its file; None where there is none.

    Returns
    -------
    dict[str, str]
        Values by what they are.
    """
    manifest = prepared.manifest
    return {
        MODEL: model,
        **({MODEL_DIGEST: digest} if digest else {}),
        "Cohort": f"{len(prepared)} prepared patients, {len(prepared.failures)} that could not be prepared",
        COHORT_DIGEST: cohort_digest(prepared),
        "Cohort made from": ", ".join(str(source) for source in manifest.get("sources", ())) or "not told",
        "Seed of the synthetic cohort": str(manifest.get("seed", "none")),
        "Method": method_digest(),
        "Configuration of the preparation": str(manifest.get("config_digest", "not told")),
        **versions(),
    }


def versions() -> dict[str, str]:
    """Return this program's version and those of the libraries that its statistics come from."""
    return {"pdl1es": __version__, **{name: version(name) for name in ("numpy", "scipy", "lifelines", "statsmodels")}}


def table_provenance(table: Path, checked: CheckedTable) -> dict[str, str]:
    """Return what of a table was analysed.

    Parameters
    ----------
    table
        Its file; the digest is recorded.
    checked
        What was read from it.

    Returns
    -------
    dict[str, str]
        Values by what they are.
    """
    return {
        MODEL: "none",
        "Cohort": f"{checked.screened} patients in the table",
        COHORT_DIGEST: hashlib.sha256(table.read_bytes()).hexdigest(),
        **versions(),
    }

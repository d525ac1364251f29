"""The workflow's tables: results with their files, runs, versions of the clinical table."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Integer, String, Table

from gateway.database import METADATA, UtcTime

RESULTS: Final = Table(
    "results",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("group", String(200), nullable=False),
    Column("score", Float),
    Column("refusal", String(100), nullable=False),
    Column("training_data", String(20), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("superseded_by", String(64)),
    Column("purged_at", UtcTime),
    Column("removed_by", String(16)),
    Column("withheld", JSON),
)
"""What a run made. ``superseded_by`` is the digest of the study's later result; a purged one has no files any more: ``removed_by``
the ``retention`` rules or a ``person``. ``withheld`` are
the destinations that the rules name and that get nothing, with the reason; null before the result was handed over."""

RESULT_FILES: Final = Table(
    "result_files",
    METADATA,
    Column("digest", String(64), ForeignKey("results.digest"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("sop_instance_uid", String(64), nullable=False, index=True),
    Column("sha256", String(64), nullable=False),
    Column("kind", String(10), nullable=False),
)

REMOVED_REPORTS: Final = Table(
    "removed_reports",
    METADATA,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("digest", String(64), nullable=False),
    Column("attributes", JSON, nullable=False),
)
"""Reports whose files were removed: what a later report needs to name them (`gateway.workflow.removed_reports`)."""

RUNS: Final = Table(
    "runs",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("objects_digest", String(64), nullable=False),
    Column("clinical_digest", String(64), nullable=False),
    Column("contour", JSON, nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("number", Integer, nullable=False, index=True),
    Column("round", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", String(500), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("seconds", Float),
)
"""One run for each digest. ``number`` grows with each run that is asked for, whatever the clock does; ``round`` counts the workflows that were started for it, ``attempts`` the tries since it was last
asked for."""

STUDY_DEFECTS: Final = Table(
    "study_defects",
    METADATA,
    Column("study_instance_uid", String(64), primary_key=True),
    Column("part", String(10), primary_key=True),
    Column("found", String(200), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
)
"""Studies whose judging fails by a defect: which part of it, the error's kind and place, and how often since when."""

CLINICAL_VERSIONS: Final = Table(
    "clinical_versions",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("sha256", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)
"""Each valid version of the clinical table that was taken, in its order."""

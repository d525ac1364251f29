"""The tables of the object store: objects, those that were kept aside, studies, and what is in flight."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, Row, String, Table

from gateway.database import METADATA, UtcTime

OBJECTS: Final = Table(
    "objects",
    METADATA,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("sop_class_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("path", String(255), nullable=False),
    Column("source", String(64), nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Index("objects_of_study", "study_instance_uid"),
    Index("objects_by_time", "received_at"),
)
"""Every stored object: the first that came under its SOP Instance UID."""

CONFLICTS: Final = Table(
    "conflicts",
    METADATA,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("study_instance_uid", String(64), nullable=False),
    Column("path", String(255), nullable=False),
    Column("source", String(64), nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Index("conflicts_of_study", "study_instance_uid"),
)
"""Objects that came under the UID of another one with other bytes: kept aside, never scored."""

STUDIES: Final = Table(
    "studies",
    METADATA,
    Column("study_instance_uid", String(64), primary_key=True),
    Column("first_received_at", UtcTime, nullable=False),
    Column("last_received_at", UtcTime, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("judged_revision", Integer, nullable=False),
    Column("judge_at", UtcTime),
)
"""Every study: ``revision`` counts what arrived, ``judged_revision`` is the one that was judged last, and ``judge_at`` is when the
study is judged again although nothing more arrived."""

IN_FLIGHT: Final = Table(
    "in_flight",
    METADATA,
    Column("holder", String(128), primary_key=True),
    Column("study_instance_uid", String(64), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Index("in_flight_of_study", "study_instance_uid"),
)
"""Which open association, or other source at work, has brought objects of which study, and when it last did."""

StoredRow = Row[Any]
"""A row of a table of the store."""

"""Reports whose files were removed: what stays known of them, so that a later report still names them and is numbered after them.

Kept is what an archive would answer to a query for them (QIDO-RS, PS3.18 F.2), without anything of the patient: UIDs, the document's title
and date, its number in the series, the software, and which earlier reports it replaces.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any, Final

from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from sqlalchemy import Connection, Engine, delete, insert, select

from gateway.database import read_only
from gateway.records import ResultFile, StoredResult, StudyKey
from gateway.workflow.tables import REMOVED_REPORTS
from pdl1es.dicom.header_elements import MALFORMED
from pdl1es.dicom.silence import silenced_pydicom

logger = logging.getLogger("pdl1es.gateway.workflow")

KEPT_ATTRIBUTES: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ContentDate",
    "ContentTime",
    "Manufacturer",
    "ManufacturerModelName",
    "ConceptNameCodeSequence",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "PredecessorDocumentsSequence",
)
"""Keywords of what is kept: what `pdl1es.report.earlier_reports` reads of an archive's answer."""


def telling_reports(files: Iterable[ResultFile]) -> tuple[ResultFile, ...]:
    """Return those of a result's files that a later run is given.

    Parameters
    ----------
    files
        Of the result.

    Returns
    -------
    tuple of ResultFile
        The structured report, which names its predecessors and counts for all objects of its run; where a site makes none, all of them.
    """
    reports = tuple(file for file in files if file.sop_instance_uid)
    return tuple(file for file in reports if file.kind == "sr") or reports


def read_kept_attributes(result: StoredResult) -> tuple[dict[str, Any], ...]:
    """Read what stays known of a result's reports, before its files are removed.

    Parameters
    ----------
    result
        With its files; one that cannot be read is left out, and the log says so.

    Returns
    -------
    tuple of dict
        Rows of `REMOVED_REPORTS`.
    """
    rows = []
    for file in telling_reports(result.files):
        try:
            with silenced_pydicom():
                header = dcmread(
                    result.folder / file.name, stop_before_pixels=True, specific_tags=list(KEPT_ATTRIBUTES)
                )
                attributes = {
                    tag: value
                    for tag, value in header.to_json_dict().items()
                    if keyword_for_tag(tag) in KEPT_ATTRIBUTES
                }
        except (OSError, RecursionError, *MALFORMED):
            logger.error("a report cannot be read; no later one will name it", extra={"study": result.study})
            continue
        rows.append(
            {
                "sop_instance_uid": file.sop_instance_uid,
                "study_instance_uid": result.study.study_instance_uid,
                "digest": result.digest,
                "attributes": attributes,
            }
        )
    return tuple(rows)


def keep_attributes(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Enter what stays known of reports.

    Parameters
    ----------
    connection
        In a transaction.
    rows
        From `read_kept_attributes`.
    """
    for row in rows:
        same = REMOVED_REPORTS.c.sop_instance_uid == row["sop_instance_uid"]
        connection.execute(delete(REMOVED_REPORTS).where(same))
        connection.execute(insert(REMOVED_REPORTS).values(row))


def removed_reports(engine: Engine, study: StudyKey) -> bytes:
    """Return a study's removed reports as `pdl1es.report.earlier_reports` reads them.

    Parameters
    ----------
    engine
        The gateway's database.
    study
        Which.

    Returns
    -------
    bytes
        JSON, in the form of QIDO-RS's answer; empty where there are none.
    """
    query = select(REMOVED_REPORTS.c.attributes).where(REMOVED_REPORTS.c.study_instance_uid == study.study_instance_uid)
    with read_only(engine).connect() as connection:
        found = list(connection.execute(query.order_by(REMOVED_REPORTS.c.sop_instance_uid)).scalars())
    return json.dumps(found).encode("ascii") if found else b""

"""Queries by C-FIND (PS3.4 annex C, Study Root) with a limit on what is taken of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from gateway.peers.association import accepts, require_success
from gateway.peers.failures import PeerError, PeerFailure
from pdl1es.dicom.header_elements import MALFORMED
from pdl1es.dicom.silence import silenced_pydicom

QueryLevel = Literal["STUDY", "SERIES", "IMAGE"]
MOST_MATCHES: Final = 10_000
"""Longest answer that is taken."""
PENDING: Final = (0xFF00, 0xFF01)


def find_context() -> PresentationContext:
    """Return the presentation context that `find` needs."""
    return build_context(StudyRootQueryRetrieveInformationModelFind)


def find(
    association: Association, level: QueryLevel, match: Mapping[str, str], wanted: Sequence[str] = ()
) -> list[Dataset]:
    """Ask for what a node has.

    Parameters
    ----------
    association
        With `find_context` among its contexts.
    level
        Of the matches.
    match
        Keyword and value: the unique keys of the levels above, and what is looked for.
    wanted
        Keywords of further attributes that the answer should hold.

    Returns
    -------
    list of pydicom.Dataset
        The matches; what a node gave beyond what was asked is left in.

    Raises
    ------
    PeerError
        ``NOT_ACCEPTED``: the node answers no queries; ``LIMIT_EXCEEDED``: more than `MOST_MATCHES`; or the failure that it said.
    """
    if not accepts(association, StudyRootQueryRetrieveInformationModelFind):
        raise PeerError(PeerFailure.NOT_ACCEPTED, "Study Root Query/Retrieve - FIND")
    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword in wanted:
        setattr(query, keyword, None)
    for keyword, value in match.items():
        setattr(query, keyword, value)
    found: list[Dataset] = []
    for status, identifier in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
        if status.get("Status") not in PENDING:
            require_success(status, f"C-FIND at level {level}")
            break
        if identifier is None:
            raise PeerError(PeerFailure.BAD_ANSWER, f"C-FIND at level {level}: a match that cannot be decoded")
        try:
            with silenced_pydicom():
                identifier.decode()
        except (*MALFORMED, RecursionError) as error:
            raise PeerError(PeerFailure.BAD_ANSWER, f"C-FIND at level {level}: a match that cannot be read") from error
        found.append(identifier)
        if len(found) > MOST_MATCHES:
            association.abort()
            raise PeerError(PeerFailure.LIMIT_EXCEEDED, f"C-FIND at level {level}: more than {MOST_MATCHES} matches")
    return found

"""How a peer can fail the gateway: one table of codes, with what each means and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class PeerFailureRow:
    """One row of the table.

    Attributes
    ----------
    meaning
        What is wrong, in words for a PACS administrator.
    remedy
        What to do about it.
    peer_down
        Whether it says that the peer as a whole is not at work, so that other results need not be tried now.
    """

    meaning: str
    remedy: str
    peer_down: bool


class PeerFailure(Enum):
    """Every way in which a peer's answer, or its silence, keeps the gateway from what it wanted."""

    UNREACHABLE = PeerFailureRow(
        "no connection could be opened", "check host and port, and that the peer runs and no firewall is between", True
    )
    TLS_FAILED = PeerFailureRow(
        "the TLS handshake failed",
        "check that each side trusts the other's certificate, that it names the host, and that TLS 1.2 or 1.3 is allowed",
        True,
    )
    ASSOCIATION_REJECTED = PeerFailureRow(
        "the peer rejected the association",
        "enter the gateway's AE title and address at the peer, and the peer's AE title in gateway.yaml",
        True,
    )
    ABORTED = PeerFailureRow("the peer broke the connection off", "look into the peer's log at that time", True)
    TIMEOUT = PeerFailureRow(
        "the peer did not answer in time", "look whether the peer is overloaded; raise the time-outs of this peer", True
    )
    BUSY = PeerFailureRow(
        "the peer says that it cannot take more now", "look into the peer's free space and its load", True
    )
    NOT_AUTHORISED = PeerFailureRow(
        "the peer wants other credentials", "renew the token or the certificate, and check what it may do", True
    )
    NOT_ACCEPTED = PeerFailureRow(
        "the peer does not accept a SOP class in the transfer syntax that it is stored in",
        "enable that SOP class with that transfer syntax at the peer, or send it other outputs; nothing is transcoded",
        False,
    )
    REFUSED = PeerFailureRow(
        "the peer refused an object or a request",
        "look the status up in the peer's conformance statement and log",
        False,
    )
    NOT_COMMITTED = PeerFailureRow(
        "the peer took the objects and says that it does not keep them", "look into the peer's log and its rules", False
    )
    NOT_FOUND = PeerFailureRow(
        "the peer took the objects and does not find them", "look into the peer's log; quarantine may hold them", False
    )
    NOT_CONFIRMED = PeerFailureRow(
        "the peer took the objects, offers storage commitment, and neither answers to it nor finds them when asked by C-FIND",
        "look at the peer whether they are there; mend its storage commitment or enable C-FIND for the gateway, then `pdl1es "
        "gateway resend`",
        False,
    )
    BAD_ANSWER = PeerFailureRow(
        "the peer's answer cannot be understood", "check that the address is that of the service", False
    )
    LIMIT_EXCEEDED = PeerFailureRow(
        "the peer's answer is larger than the limits allow",
        "raise the limits of this peer, if the size is meant",
        False,
    )
    RESULT_CHANGED = PeerFailureRow(
        "a file of the stored result is missing or was changed",
        "restore the folder of results from a backup; the file is never sent",
        False,
    )
    SOURCE_NOT_READABLE = PeerFailureRow(
        "the source's folder cannot be read",
        "mount it, and let the gateway's user read it and remove what it took",
        True,
    )
    DEFECT = PeerFailureRow(
        "the gateway has a defect with what the peer gave", "report it, with the lines of the log that say where", True
    )
    NOT_WRITABLE = PeerFailureRow(
        "the destination's folder cannot be written to",
        "make it writable for the gateway's user, and check free space",
        True,
    )

    @property
    def row(self) -> PeerFailureRow:
        """Meaning, remedy and kind."""
        return self.value


class PeerError(Exception):
    """A peer did not do what it was asked for.

    Attributes
    ----------
    failure
        The code.
    found
        What was found: statuses, UIDs and addresses alone, so that it may stand in a log.
    """

    def __init__(self, failure: PeerFailure, found: str) -> None:
        """Keep the parts, so that whoever catches it needs not read the message.

        Parameters
        ----------
        failure
            The code.
        found
            What was found; never a value of a patient, nor a peer's own free text.
        """
        super().__init__(
            f"{failure.name}: {failure.row.meaning}: {found}. {failure.row.remedy[0].upper()}{failure.row.remedy[1:]}."
        )
        self.failure = failure
        self.found = found


def peer_failure_table() -> str:
    """Return the table for `docs/gateway.md`."""
    rows = ["| code | meaning | what to do |", "|---|---|---|"]
    rows += [f"| `{failure.name}` | {failure.row.meaning} | {failure.row.remedy} |" for failure in PeerFailure]
    return "\n".join(rows)

"""Who may send: pure functions of address and AE titles."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.receive.settings import LOOPBACK_RANGES, AllowedSender


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an association is rejected, as the A-ASSOCIATE-RJ PDU says it (PS3.8 9.3.4).

    Attributes
    ----------
    result
        1: rejected permanently; 2: for now.
    source
        1: service user; 2: service provider (ACSE); 3: service provider (presentation).
    reason
        As the source defines it.
    word
        For the log.
    """

    result: int
    source: int
    reason: int
    word: str


CALLING_UNKNOWN = Rejection(1, 1, 3, "calling AE title not recognised")
CALLED_UNKNOWN = Rejection(1, 1, 7, "called AE title not recognised")
LIMIT_REACHED = Rejection(2, 3, 2, "local limit exceeded")
CONGESTED = Rejection(2, 3, 1, "temporary congestion")
_NOT_SHOWN = re.compile(r"[^A-Za-z0-9_. -]")
_LONGEST_TITLE = 16


def shown_title(title: str) -> str:
    """Return an AE title as a log may show it: what a peer sent is not trusted.

    Parameters
    ----------
    title
        As the peer sent it.

    Returns
    -------
    str
        In quotes, at most 16 characters (PS3.5 6.2), with ``?`` for all but letters, digits, space, ``_``, ``.`` and ``-``.
    """
    return f"'{_NOT_SHOWN.sub('?', title[:_LONGEST_TITLE])}'"


@dataclass(frozen=True, slots=True)
class _SenderRule:
    ae_title: str | None
    networks: tuple[IPv4Network | IPv6Network, ...]

    def allows_address(self, address: str) -> bool:
        there = ip_address(address.partition("%")[0])
        if isinstance(there, IPv6Address) and there.ipv4_mapped is not None:
            there = there.ipv4_mapped
        return any(there in network for network in self.networks)


class AccessRules:
    """Who may send to one port.

    Parameters
    ----------
    ae_title
        The gateway's own.
    senders
        Who may send; where there is none, every AE title from this machine.
    """

    def __init__(self, ae_title: str, senders: Iterable[AllowedSender]) -> None:
        self._ae_title = ae_title
        self._allowed = tuple(_SenderRule(sender.ae_title, _networks(sender.addresses)) for sender in senders) or (
            _SenderRule(None, _networks(LOOPBACK_RANGES)),
        )

    def allows_address(self, address: str) -> bool:
        """Tell whether anybody may send from an address: a connection from elsewhere is closed at once."""
        return any(sender.allows_address(address) for sender in self._allowed)

    def judge(self, address: str, called: str, calling: str) -> Rejection | None:
        """Judge a request for an association.

        Parameters
        ----------
        address
            Where it comes from.
        called, calling
            Its AE titles.

        Returns
        -------
        Rejection or None
            None where it may send. An AE title that may send from elsewhere is not recognised here.
        """
        if called != self._ae_title:
            return CALLED_UNKNOWN
        for sender in self._allowed:
            if sender.ae_title in (None, calling) and sender.allows_address(address):
                return None
        return CALLING_UNKNOWN


def _networks(ranges: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text, strict=False) for text in ranges)

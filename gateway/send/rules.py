"""Which outputs of a result go where: a pure function of the rules and of what is known of the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.peers.settings import PeerName
from gateway.records import StoredObject, StoredResult
from pdl1es.report.kinds import REPORT_KINDS
from pdl1es.settings import OutputKind

SENDER: Final = "sender"
"""In a rule: the destination that has the AE title from which the study came."""
NO_DICOM: Final = ("fhir", "json")
"""Kinds of outputs that are no DICOM objects, which only a folder takes: the FHIR bundle and ``result.json``."""

NOTHING_TO_SEND: Final = "the result has none of the outputs that the rules send there"
"""Why a destination gets nothing of a refused study without a report: nothing is kept from it."""

ResultStatus = Literal["scored", "refused"]


class SendRule(BaseModel):
    """One rule. All rules that fit a result apply; a destination gets the outputs of all of them, in one set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: Annotated[tuple[PeerName, ...], Field(min_length=1)] = Field(
        description="names of destinations; `sender`: the one that has the AE title from which the study came"
    )
    outputs: Annotated[tuple[OutputKind, ...], Field(min_length=1)] = Field(
        default=("sr", "cam", "pdf", "kos"), description="kinds of outputs that are sent, as far as the result has them"
    )
    results: Annotated[tuple[ResultStatus, ...], Field(min_length=1)] = Field(
        default=("scored", "refused"), description="which results it is for: with a score, or the report of a refusal"
    )
    sources: tuple[str, ...] = Field(default=(), description="names of the sources that the study came by; absent: any")
    senders: tuple[str, ...] = Field(default=(), description="calling AE titles that the study came from; absent: any")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a study came from.

    Attributes
    ----------
    sources
        Names of the sources in ``gateway.yaml`` that its objects came by.
    ae_titles
        Calling AE titles of the associations that they came on.
    """

    sources: frozenset[str]
    ae_titles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Address:
    """What the rules need to know of a destination.

    Attributes
    ----------
    ae_title
        Its AE title; empty where it has none.
    takes_any
        Whether it takes files that are no DICOM objects.
    is_loopback
        Whether what is sent there stays on this machine.
    """

    ae_title: str
    takes_any: bool
    is_loopback: bool


@dataclass(frozen=True, slots=True)
class Shipment:
    """One set for one destination.

    Attributes
    ----------
    destination
        Its name.
    kinds
        Kinds of outputs, in the order of `REPORT_KINDS`, then those of `NO_DICOM`.
    """

    destination: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Withheld:
    """A destination that a rule names and that gets nothing.

    Attributes
    ----------
    destination
        Its name, or ``sender``.
    reason
        Why, for a person.
    """

    destination: str
    reason: str


@dataclass(frozen=True, slots=True)
class SendPlan:
    """What is sent of one result.

    Attributes
    ----------
    shipments
        One for each destination, in the order of their names.
    withheld
        What the rules name and is not sent.
    """

    shipments: tuple[Shipment, ...]
    withheld: tuple[Withheld, ...]


def plan_sending(
    result: StoredResult,
    origin: Origin,
    *,
    rules: tuple[SendRule, ...],
    addresses: Mapping[str, Address],
    demonstration: bool,
    allow_demonstration: bool,
) -> SendPlan:
    """Apply the rules to one result.

    Parameters
    ----------
    result
        What there is to send.
    origin
        Where its study came from.
    rules
        All of them.
    addresses
        The destinations by name.
    demonstration
        Whether the model was not trained on patients.
    allow_demonstration
        Whether reports of such a model may leave this machine.

    Returns
    -------
    SendPlan
        Nothing is withheld silently: each destination that a fitting rule names is in it.
    """
    status: ResultStatus = "refused" if result.refusal else "scored"
    wanted: dict[str, set[str]] = {}
    withheld: dict[str, str] = {}
    for rule in rules:
        if misfit(rule, status, origin):
            continue
        for name in rule.to:
            names = _senders(origin, addresses) if name == SENDER else (name,)
            if not names:
                withheld[SENDER] = "no destination has the AE title that the study came from"
            for found in names:
                wanted.setdefault(found, set()).update(rule.outputs)
    shipments = []
    for name in sorted(wanted):
        address = addresses[name]
        kinds = _kinds(result, wanted[name], address)
        if demonstration and not allow_demonstration and not address.is_loopback:
            withheld[name] = "the model was not trained on patients, and allow_demonstration is not set"
        elif not kinds:
            withheld[name] = NOTHING_TO_SEND
        else:
            shipments.append(Shipment(name, kinds))
    return SendPlan(tuple(shipments), tuple(Withheld(name, withheld[name]) for name in sorted(withheld)))


def shipped_part(result: StoredResult, kinds: tuple[str, ...]) -> StoredResult:
    """Return a result with the files alone that one destination gets.

    Parameters
    ----------
    result
        The whole.
    kinds
        Of a `Shipment`.

    Returns
    -------
    StoredResult
        Pictures and pages first, then the structured report, then the selection of key objects that names them all: where a connection breaks in the middle, no report is there
        that names a picture which is not.
    """
    order = ("cam", "pdf", "sr", "kos", *NO_DICOM)
    files = sorted(
        (file for file in result.files if file.kind in kinds), key=lambda file: (order.index(file.kind), file.name)
    )
    return replace(result, files=tuple(files))


def misfit(rule: SendRule, status: ResultStatus, origin: Origin) -> str:
    """Return why a rule is not for a result; nothing where it is.

    Parameters
    ----------
    rule
        The rule.
    status
        Whether the result has a score.
    origin
        Where its study came from.

    Returns
    -------
    str
    """
    if status not in rule.results:
        return f"it is for results that are {' or '.join(rule.results)}"
    if rule.sources and not origin.sources & set(rule.sources):
        return f"it is for studies that came by {' or '.join(rule.sources)}"
    if rule.senders and not origin.ae_titles & set(rule.senders):
        return f"it is for studies that were sent by {' or '.join(rule.senders)}"
    return ""


def origin_of(objects: Iterable[StoredObject]) -> Origin:
    """Return where a study came from.

    Parameters
    ----------
    objects
        All that are stored of it.

    Returns
    -------
    Origin
    """
    stored = tuple(objects)
    return Origin(
        sources=frozenset(one.source for one in stored),
        ae_titles=frozenset(one.calling_ae_title for one in stored if one.calling_ae_title),
    )


def _senders(origin: Origin, addresses: Mapping[str, Address]) -> tuple[str, ...]:
    return tuple(
        name for name, address in addresses.items() if address.ae_title and address.ae_title in origin.ae_titles
    )


def _kinds(result: StoredResult, wanted: set[str], address: Address) -> tuple[str, ...]:
    there = {file.kind for file in result.files}
    kinds = (*REPORT_KINDS, *NO_DICOM) if address.takes_any else REPORT_KINDS
    return tuple(kind for kind in kinds if kind in wanted & there)

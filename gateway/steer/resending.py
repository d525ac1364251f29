"""What is sent of a stored result when a person asks for it: planned anew, by the rules of now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.processes.deliveries import sending_plan
from gateway.records import StoredObject
from gateway.send.rules import NOTHING_TO_SEND, SENDER, SendPlan, Shipment
from gateway.settings.file import GatewaySettings
from gateway.steer.overview import StudyOverview
from gateway.workflow.results import ResultNote


class NotSentError(ValueError):
    """A result is not sent where it was asked for: why, and what to do."""


@dataclass(frozen=True, slots=True)
class Resending:
    """What a person's request sends.

    Attributes
    ----------
    note
        The result.
    shipments
        One for each destination that gets it now.
    withheld
        What stays withheld: each destination with the reason.
    """

    note: ResultNote
    shipments: tuple[Shipment, ...]
    withheld: tuple[str, ...]


def plan_of_now(note: ResultNote, objects: Sequence[StoredObject], settings: GatewaySettings) -> SendPlan:
    """Apply the rules of ``gateway.yaml`` as it is now to a stored result.

    Parameters
    ----------
    note
        Of the result.
    objects
        Of its study: where they came from decides which rules fit.
    settings
        ``gateway.yaml``.

    Returns
    -------
    SendPlan
    """
    return sending_plan(
        note.result,
        tuple(objects),
        settings.send,
        training_data=note.training_data,
        allow_demonstration=settings.allow_demonstration,
    )


def resending(
    one: StudyOverview, objects: Sequence[StoredObject], settings: GatewaySettings, to: Sequence[str]
) -> Resending:
    """Decide what is sent of a study's current result.

    Parameters
    ----------
    one
        The study.
    objects
        Of it.
    settings
        ``gateway.yaml``.
    to
        Destinations that were asked for; none: all that the rules of now send it to.

    Returns
    -------
    Resending

    Raises
    ------
    NotSentError
        There is no result, its files are gone, or the rules of now do not send it where it was asked for.
    """
    if not one.results:
        raise NotSentError("this study has no result yet: what it waits for, `show` says")
    note = one.results[-1]
    if note.purged:
        raise NotSentError(f"the result's files were removed ({one.state}); it cannot be sent any more")
    plan = plan_of_now(note, objects, settings)
    planned = {shipment.destination: shipment for shipment in plan.shipments}
    reasons = {withheld.destination: withheld.reason for withheld in plan.withheld}
    for name in to:
        if name not in planned:
            raise NotSentError(_why_not(name, reasons, settings))
    wanted = set(to or planned)
    if not wanted:
        told = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()))
        raise NotSentError(f"nothing is sent. {told}" if told else "no rule of gateway.yaml sends this result anywhere")
    left = [line for line in note.withheld if (name := _destination(line)) in planned and name not in wanted]
    return Resending(
        note,
        tuple(shipment for name, shipment in planned.items() if name in wanted),
        (*told_reasons(plan), *left),
    )


def told_reasons(plan: SendPlan) -> tuple[str, ...]:
    """Return what a plan withholds, each destination with its reason, as it is kept with the result.

    Parameters
    ----------
    plan
        Of the result.

    Returns
    -------
    tuple of str
        Without destinations for which the result has nothing.
    """
    return tuple(f"{one.destination}: {one.reason}" for one in plan.withheld if one.reason != NOTHING_TO_SEND)


def withheld_in_words(one: StudyOverview, objects: Iterable[StoredObject], settings: GatewaySettings) -> Iterator[str]:
    """Give a line for each destination that a study's current result did not go to: why, and what sends it.

    Parameters
    ----------
    one
        The study.
    objects
        Of it.
    settings
        ``gateway.yaml``.

    Yields
    ------
    str
    """
    if not one.results or one.results[-1].purged:
        return
    note = one.results[-1]
    plan = plan_of_now(note, tuple(objects), settings)
    planned = {shipment.destination for shipment in plan.shipments}
    reasons = {withheld.destination: withheld.reason for withheld in plan.withheld}
    sent = {detail.delivery.destination for detail in one.deliveries if detail.delivery.digest == note.result.digest}
    then = {_destination(line): line for line in note.withheld}
    for name, line in then.items():
        if name == SENDER and name not in reasons:
            continue  # which destination that is now, the lines below say
        if name not in planned:
            yield f"withheld from {line}; {_what_sends(name, reasons)}"
    for name in sorted(planned - sent):
        was = f"it was withheld ({then[name]})" if name in then else "no rule sent it there when it was stored"
        yield f"not sent to {name}: {was}; the settings of now send it: `pdl1es gateway resend {one.hash} --to {name}`"


def _destination(line: str) -> str:
    return line.partition(":")[0]


def _why_not(name: str, reasons: dict[str, str], settings: GatewaySettings) -> str:
    if name in reasons:
        return f"nothing is sent to {name}: {reasons[name]}"
    if name not in settings.send.addresses():
        return f"gateway.yaml has no destination {name}"
    return (
        f"no rule of gateway.yaml sends this result to {name}; `check-config --study` says what each rule does with it"
    )


def _what_sends(name: str, reasons: dict[str, str]) -> str:
    if name not in reasons:
        return "no rule of now sends it there"
    return "when gateway.yaml is changed so that this holds no more, `pdl1es gateway resend` sends it"

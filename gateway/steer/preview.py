"""What the rules would do: said for every source, before a study comes, and for a study that is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.receive.settings import DimseSource
from gateway.records import ResultFile, StoredResult, StudyKey
from gateway.send.rules import Origin, SendPlan, plan_sending
from gateway.settings.file import GatewaySettings
from pdl1es.settings import Settings


def previewed_rules(settings: GatewaySettings, application: Settings, training_data: str) -> Iterator[str]:
    """Give a line for each source and kind of result: where it would go, and what would be withheld, and why.

    Parameters
    ----------
    settings
        ``gateway.yaml``.
    application
        ``app.yaml``: which outputs there are.
    training_data
        Of the model.

    Yields
    ------
    str
    """
    for source in settings.sources:
        senders = [sender.ae_title for sender in source.senders] if isinstance(source, DimseSource) else []
        for title in senders or [""]:
            origin = Origin(frozenset({source.name}), frozenset({title} if title else ()))
            whence = f"{source.name}, sent by {title}" if title else source.name
            for result in sample_results(application):
                status = "refused" if result.refusal else "scored"
                plan = plan_sending(
                    result,
                    origin,
                    rules=settings.send.rules,
                    addresses=settings.send.addresses(),
                    demonstration=training_data != "patients",
                    allow_demonstration=settings.allow_demonstration,
                )
                yield f"a study from {whence}, {status}: {'; '.join(plan_in_words(plan))}"


def plan_in_words(plan: SendPlan) -> Iterable[str]:
    """Return what a plan does, in words.

    Parameters
    ----------
    plan
        Of a result.

    Returns
    -------
    iterable of str
    """
    words = [f"{', '.join(one.kinds)} to {one.destination}" for one in plan.shipments]
    words += [f"nothing to {one.destination} ({one.reason})" for one in plan.withheld]
    return words or ["nothing is sent; the result stays in the gateway"]


def sample_results(application: Settings) -> tuple[StoredResult, ...]:
    """Return a scored and a refused result as this application writes them, without content.

    Parameters
    ----------
    application
        ``app.yaml``.

    Returns
    -------
    tuple of StoredResult
    """
    scored = dict.fromkeys((*(kind for kind in application.outputs if kind != "json"), "json"))
    refused = ("sr", "json") if application.report_refusals else ("json",)
    return tuple(
        StoredResult(
            StudyKey(""), "", Path(), tuple(ResultFile(kind, "", "", kind) for kind in kinds), "", score, refusal
        )
        for kinds, score, refusal in ((tuple(scored), 0.5, ""), (refused, None, "NO_SEG"))
    )

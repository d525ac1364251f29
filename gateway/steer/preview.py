"""What the rules would do: said for every source, before a study comes, and for a study that is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.objects.index import ObjectIndex
from gateway.receive.settings import DimseSource
from gateway.records import ResultFile, StoredResult, StudyKey
from gateway.send.rules import (
    NOTHING_TO_SEND,
    SENDER,
    Origin,
    ResultStatus,
    SendPlan,
    SendRule,
    misfit,
    origin_of,
    plan_sending,
)
from gateway.settings.file import GatewaySettings
from gateway.steer.overview import Overview, StudyOverview
from pdl1es.settings import Settings


def warnings_of_rules(settings: GatewaySettings, application: Settings, training_data: str) -> Iterator[str]:
    """Give what the rules ask for and cannot have: outputs that are not made, and a demonstration's that may not leave.

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
    made = {*application.outputs, "json"}
    away: set[str] = set()
    addresses = settings.send.addresses()
    for number, rule in enumerate(settings.send.rules):
        asked = rule.outputs if "outputs" in rule.model_fields_set else ()  # by default: as far as there are any
        for kind in dict.fromkeys(asked):
            if kind not in made:
                yield f"send.rules.{number}: {kind} is asked for, and outputs of app.yaml does not make it"
        names = set(addresses) if SENDER in rule.to else set(rule.to)
        away |= {name for name in names if not addresses[name].is_loopback}
    if away and training_data != "patients" and not settings.allow_demonstration:
        yield (
            f"nothing is sent to {', '.join(sorted(away))}: the model was not trained on patients, and allow_demonstration is "
            "not set"
        )


def previewed_rules(settings: GatewaySettings, application: Settings, training_data: str) -> Iterator[str]:
    """Give for each source and kind of result where it would go, what would be withheld and why, and what each rule does.

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
                yield from _previewed(f"a study from {whence}", result, origin, settings, application, training_data)
    for number, rule in enumerate(settings.send.rules):
        if reason := _never(rule, settings):
            yield f"send.rules.{number} does nothing: {reason}"


def previewed_study(
    study: StudyOverview, overview: Overview, settings: GatewaySettings, application: Settings, training_data: str
) -> Iterator[str]:
    """Give what each rule would do with a study that was received.

    Parameters
    ----------
    study
        Which.
    overview
        Of the gateway's database.
    settings
        ``gateway.yaml`` as it is now, which may be another than when the study was sent.
    application
        ``app.yaml``: which outputs there are, where the study has no result yet.
    training_data
        Of the model.

    Yields
    ------
    str
    """
    origin = origin_of(ObjectIndex(overview.engine).objects_of(study.study))
    came = f"by {', '.join(sorted(origin.sources)) or 'no source: its objects were removed'}"
    if origin.ae_titles:
        came += f", sent by {', '.join(sorted(origin.ae_titles))}"
    yield f"study {study.hash} came {came}; state: {study.state}"
    results = (study.results[-1].result,) if study.results else sample_results(application)
    for result in results:
        yield from _previewed(
            "its result" if study.results else "a result", result, origin, settings, application, training_data
        )


def _previewed(
    what: str,
    result: StoredResult,
    origin: Origin,
    settings: GatewaySettings,
    application: Settings,
    training_data: str,
) -> Iterator[str]:
    """Give a line for what is sent of a result, and one for each rule."""
    status: ResultStatus = "refused" if result.refusal else "scored"

    def plan(rules: tuple[SendRule, ...]) -> str:
        planned = plan_sending(
            result,
            origin,
            rules=rules,
            addresses=settings.send.addresses(),
            demonstration=training_data != "patients",
            allow_demonstration=settings.allow_demonstration,
        )
        words = [*plan_in_words(planned)]
        nothing = any(one.reason == NOTHING_TO_SEND for one in planned.withheld)
        if status == "refused" and nothing and not application.report_refusals:
            words.append("report_refusals of app.yaml makes a report of it")
        return "; ".join(words)

    yield f"{what}, {status}: {plan(settings.send.rules)}"
    for number, rule in enumerate(settings.send.rules):
        reason = misfit(rule, status, origin)
        yield f"  send.rules.{number}: {f'does not fit, {reason}' if reason else plan((rule,))}"


def _never(rule: SendRule, settings: GatewaySettings) -> str:
    """Return why a rule fits no study that can come; nothing where it can fit one."""
    sources = [source for source in settings.sources if not rule.sources or source.name in rule.sources]
    listed = [source for source in sources if isinstance(source, DimseSource)]
    anyone = any(not source.senders for source in listed)
    titles = {sender.ae_title for source in listed for sender in source.senders}
    if rule.senders and not anyone and not titles & set(rule.senders):
        return f"no source takes anything from {' or '.join(rule.senders)}"
    return ""


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
    return words or ["nothing is sent; the result stays in results/ of the folder, and `pdl1es gateway show` says it"]


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

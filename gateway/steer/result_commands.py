"""`pdl1es gateway resend | purge`: a study's result is sent again; a study is removed."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from gateway.steer.command_options import DEFAULT_CONFIG, Config, StudyName, named_study, overview_of, settings_of
from pdl1es.console import say, usage_error


def resend(
    study: StudyName,
    config: Config = DEFAULT_CONFIG,
    to: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it
        typer.Option(
            "--to", help="A destination; left out: every destination that the rules send it to.", show_default=False
        ),
    ] = None,
) -> None:
    """Have a study's current result sent, or sent again: the same bytes under the same UIDs.

    Where it goes, the rules of `gateway.yaml` as they are now decide, also for a result that was withheld, or stored before a
    destination or a rule was there. Without `--to` it goes to every destination that they send it to, also to those that have
    confirmed it. The running gateway sends it, by the settings that it was started with.

    \f
    Parameters
    ----------
    study, config, to
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2 where there is no result, its files were removed, or the rules do not send it there.
    """
    from gateway.clock import utc_now
    from gateway.objects.index import ObjectIndex
    from gateway.steer.resending import NotSentError, resending

    settings = settings_of(config)
    overview = overview_of(settings)
    one = named_study(overview, study)
    try:
        asked = resending(one, ObjectIndex(overview.engine).objects_of(one.study), settings, to or ())
    except NotSentError as error:
        raise usage_error(str(error)) from error
    digest = asked.note.result.digest
    overview.book.send_again(digest, one.study.study_instance_uid, asked.shipments, utc_now())
    overview.results.handed_over(digest, asked.withheld)
    for shipment in asked.shipments:
        kinds = ", ".join(shipment.kinds)
        say(f"{kinds} will be sent to {shipment.destination}; how far it is, `pdl1es gateway show` says")
    for line in asked.withheld:
        say(f"withheld from {line}")


def purge(
    study: StudyName,
    config: Config = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Also where its result is not confirmed everywhere.")] = False,
) -> None:
    """Remove a study's objects and results. That it existed stays known, so that a resend is not run again.

    With `--yes` what is still to be done with it ends too: a run that waits is taken out of the queue (and the study is run where it
    is sent again), deliveries that are not confirmed end as `purged`. While a worker scores it, a result is being sent or objects are
    coming, nothing is removed.

    \f
    Parameters
    ----------
    study, config, yes
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2 where it is not delivered and `--yes` is missing, something works on it, or it is gone already.
    """
    from gateway.objects.store import ObjectStore
    from gateway.processes.setup import COPIES_FOLDER, OBJECTS_FOLDER
    from gateway.retention.removal import StudyBusyError, StudyStores, remove_study, stored_studies
    from gateway.steer.check import is_running
    from gateway.steer.refused_commands import what_purge_ends, why_no_purge
    from gateway.steer.study_lines import counted

    settings = settings_of(config)
    overview = overview_of(settings)
    one = named_study(overview, study)
    if one.is_removed:
        raise usage_error(why_no_purge())
    ends = {stored.study: stored.end for stored in stored_studies(overview.engine)}
    if ends.get(one.study) != "delivered" and not yes:
        raise usage_error(what_purge_ends(one))
    runs = is_running(settings.folder)
    with ObjectStore(settings.folder / OBJECTS_FOLDER, overview.engine, settings.storage.limits) as objects:
        stores = StudyStores(objects, overview.results, settings.folder / COPIES_FOLDER)
        try:
            removed = remove_study(one.study, stores, delivered_only=False, executor_runs=runs)
        except StudyBusyError as error:
            raise usage_error(f"nothing was removed: {error}") from error
    say(f"{counted(removed, 'object')} removed")

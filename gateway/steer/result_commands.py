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
        typer.Option("--to", help="A destination; left out: every destination of the result.", show_default=False),
    ] = None,
) -> None:
    """Have a study's current result sent again: the same bytes under the same UIDs.

    Without `--to` it is sent again to every destination that it was ever to go to, also to those that have confirmed it. The
    running gateway sends it, as soon as the destination can be reached.

    \f
    Parameters
    ----------
    study, config, to
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2 where there is no result, its files were removed, or it was never to go there.
    """
    from gateway.clock import utc_now

    settings = settings_of(config)
    overview = overview_of(settings)
    one = named_study(overview, study)
    if not one.results:
        raise usage_error("this study has no result")
    note = one.results[-1]
    if note.purged:
        raise usage_error("the result's files were removed by the retention rules")
    there = [sent.delivery.destination for sent in one.deliveries if sent.delivery.digest == note.result.digest]
    wanted = to or there
    if not wanted or (unknown := set(wanted) - set(there)):
        told = ", ".join(sorted(unknown)) if wanted else "any destination"
        raise usage_error(f"the rules never sent this result to {told}")
    if gone := set(wanted) - {destination.name for destination in settings.send.destinations}:
        raise usage_error(f"gateway.yaml has no destination {', '.join(sorted(gone))} any more")
    for destination in wanted:
        overview.book.resend(note.result.digest, destination, utc_now())
        say(f"will be sent again to {destination}; how far it is, `pdl1es gateway show` says")


def purge(
    study: StudyName,
    config: Config = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Also where its result is not confirmed everywhere.")] = False,
) -> None:
    """Remove a study's objects and results. That it existed stays known, so that a resend is not run again.

    \f
    Parameters
    ----------
    study, config, yes
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2 where it is not delivered and `--yes` is missing.
    """
    from gateway.objects.store import ObjectStore
    from gateway.processes.setup import COPIES_FOLDER, OBJECTS_FOLDER
    from gateway.retention.removal import remove_study, stored_studies
    from gateway.steer.study_lines import counted

    settings = settings_of(config)
    overview = overview_of(settings)
    one = named_study(overview, study)
    ends = {stored.study: stored.end for stored in stored_studies(overview.engine)}
    if ends.get(one.study, "delivered") != "delivered" and not yes:
        raise usage_error("its result is not confirmed everywhere that it had to go; --yes removes it all the same")
    with ObjectStore(settings.folder / OBJECTS_FOLDER, overview.engine, settings.storage.limits) as objects:
        removed = remove_study(one.study, objects, overview.results, settings.folder / COPIES_FOLDER)
    say(f"{counted(removed, 'object')} removed")

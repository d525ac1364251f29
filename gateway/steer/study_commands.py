"""`pdl1es gateway studies | show | retry | park`: what became of the studies, and what should become of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.steer.command_options import DEFAULT_CONFIG, Config, StudyName, named_study, overview_of, settings_of
from pdl1es.console import say, usage_error

if TYPE_CHECKING:
    from gateway.settings.file import GatewaySettings
    from gateway.steer.overview import Overview, StudyOverview


def studies(
    config: Config = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, what came last first.")] = 50,
) -> None:
    """List the studies: hash, objects, state, result.

    \f
    Parameters
    ----------
    config, limit
        As their help texts say.
    """
    from gateway.steer.study_lines import studies_in_lines

    for line in studies_in_lines(overview_of(settings_of(config)).studies(limit)):
        say(line)


def show(study: StudyName, config: Config = DEFAULT_CONFIG) -> None:
    """Show everything that is known of a study, with its score or refusal; no name, id or date of the patient.

    \f
    Parameters
    ----------
    study, config
        As their help texts say.
    """
    from gateway.objects.index import ObjectIndex
    from gateway.steer.resending import withheld_in_words
    from gateway.steer.study_lines import came_from, counted, study_in_lines

    settings = settings_of(config)
    overview = overview_of(settings)
    one = named_study(overview, study)
    say(f"study {one.study.study_instance_uid}")
    say(f"hash in the log {one.hash}")
    say(f"{counted(one.objects, 'object')}, {one.conflicts} kept aside; state: {one.state}")
    if senders := came_from(one):
        say(f"came by {senders}")
    if one.last_received_at is not None:
        say(f"last object came {one.last_received_at.isoformat(timespec='seconds')}")
    for line in _arrival(settings, overview, one):
        say(line)
    for line in study_in_lines(one, settings.runs):
        say(line)
    for line in withheld_in_words(one, ObjectIndex(overview.engine).objects_of(one.study), settings):
        say(line)


def retry(
    study: StudyName,
    config: Config = DEFAULT_CONFIG,
    stat: Annotated[bool, typer.Option("--stat", help="Before all others.")] = False,
) -> None:
    """Run a parked study again, or one that waits for its next try now; the executor takes it up within seconds.

    What a later run has overtaken stays parked.

    \f
    Parameters
    ----------
    study, config, stat
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2 where no run of it is parked or waits for its next try, or a later one has overtaken it.
    """
    from gateway.steer.refused_commands import why_no_retry

    overview = overview_of(settings_of(config))
    one = named_study(overview, study)
    # An older one has the contour or the row of then: its report would take the place of the later one's.
    asked = one.runs[-1:] if one.runs and one.runs[-1].state in ("parked", "again") else ()
    if not asked:
        raise usage_error(why_no_retry(one))
    overview.ledger.asked_again(asked[0].input.digest, urgent=stat or None)
    say("the run is back in the queue")


def park(study: StudyName, config: Config = DEFAULT_CONFIG) -> None:
    """Take a waiting study out of the queue until it is asked for by `retry`.

    \f
    Parameters
    ----------
    study, config
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2 where no run of it waits.
    """
    from gateway.steer.refused_commands import why_no_park
    from gateway.steer.study_lines import counted

    overview = overview_of(settings_of(config))
    one = named_study(overview, study)
    parked = [run for run in one.runs if overview.ledger.park(run.input.digest, "PARKED: a person asked for it")]
    if not parked:
        raise usage_error(why_no_park(one))
    say(f"{counted(len(parked), 'run')} parked")


def _arrival(settings: GatewaySettings, overview: Overview, one: StudyOverview) -> Iterator[str]:
    """Give lines that say what a study waits for, or what was decided when it had come."""
    from gateway.arrival.judge import ArrivalJudge
    from gateway.clock import utc_now
    from gateway.fetch.notes import FetchNotes
    from gateway.objects.in_flight import InFlight
    from gateway.objects.store import ObjectStore
    from gateway.processes.setup import OBJECTS_FOLDER
    from gateway.steer.missing import ArrivalView, arrival_in_words
    from gateway.steer.same_input import comparison_with_now
    from gateway.workflow.defects import STUDY_DEFECT, defect_in_words, is_outage
    from pdl1es.settings import load_settings
    from pdl1es.settings_file import SettingsError

    engine = overview.engine
    try:
        application = load_settings(settings.application.config_file)
        with ObjectStore(settings.folder / OBJECTS_FOLDER, engine, settings.storage.limits) as objects:
            notes = FetchNotes(engine)
            judge = ArrivalJudge(
                objects,
                InFlight(engine),
                application,
                settings.arrival,
                archive_until=lambda study, now: notes.unanswered_until(
                    study, objects.objects_of(study), settings.fetch, now
                ),
            )
            fetched = notes.find(one.study)
            compared = comparison_with_now(settings, application, overview, objects)
            view = ArrivalView(objects, judge, settings.fetch, fetched, one.runs, compared)
            yield from arrival_in_words(one.study, view, utc_now())
    except SettingsError as error:
        yield f"arrival: it cannot be judged: {error}"
    except OSError as error:
        yield f"arrival: its objects cannot be read ({error.strerror}); ask as the user that the gateway runs as"
    except Exception as error:
        if is_outage(error):
            raise
        # The executor fails alike, and logs where; what else is known of the study is shown all the same.
        yield f"arrival: it cannot be judged: {STUDY_DEFECT}: {defect_in_words(error)}"

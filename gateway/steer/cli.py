"""The commands `pdl1es serve` and `pdl1es gateway ...`, as `pdl1es.command_line.cli` attaches them.

Names, options and help need only typer; a command imports everything else when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from pdl1es.console import ended, say, usage_error
from pdl1es.exit_code import ExitCode

if TYPE_CHECKING:
    from gateway.settings.file import GatewaySettings
    from gateway.steer.overview import Overview, StudyOverview

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
gateway_app = typer.Typer(
    no_args_is_help=True,
    help="Steer the gateway: what it does with its studies, and what it should do with one. A study is named by its Study "
    "Instance UID or by the hash that stands in the log.",
)
app.add_typer(gateway_app, name="gateway")

Config = Annotated[
    Path,
    typer.Option("--config", envvar="PDL1ES_GATEWAY_CONFIG", help="The gateway's settings.", dir_okay=False),
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Study Instance UID, or the hash of the log.")]
_DEFAULT_CONFIG = Path("gateway.yaml")


def _settings(config: Path) -> GatewaySettings:
    _need_packages()
    from gateway.settings.file import load_gateway_settings
    from pdl1es.settings_file import SettingsError

    try:
        return load_gateway_settings(config)
    except SettingsError as error:
        raise usage_error(str(error)) from error


def _need_packages() -> None:
    from gateway.steer.packages import missing_packages

    if missing := missing_packages():
        raise usage_error(
            f"the gateway's packages are not installed: {', '.join(missing)}. Remedy: install the wheel with its extra: pip install 'pdl1es-....whl[gateway]'"
        )


def _overview(settings: GatewaySettings) -> Overview:
    from sqlalchemy.exc import SQLAlchemyError

    from gateway.database import create_tables, database_fault, open_database
    from gateway.logs import StudyHash, read_log_key
    from gateway.processes.setup import RESULTS_FOLDER
    from gateway.steer.overview import Overview

    if not settings.folder.is_dir():
        raise usage_error(f"{settings.folder} is not there: the gateway was never started")
    try:
        engine = open_database(settings.database_url)
        create_tables(engine)
        return Overview(engine, settings.folder / RESULTS_FOLDER, StudyHash(read_log_key(settings.folder)))
    except (SQLAlchemyError, OSError) as error:
        raise ended(
            f"the gateway's database or folder cannot be read: {database_fault(error)}", ExitCode.DEFECT
        ) from error


def _study(overview: Overview, name: str) -> StudyOverview:
    from gateway.steer.overview import UnknownStudyError

    try:
        return overview.study(overview.named(name))
    except UnknownStudyError as error:
        raise usage_error(str(error)) from error


def _arrival(settings: GatewaySettings, overview: Overview, one: StudyOverview) -> Iterator[str]:
    """Give lines that say what a study waits for, or what was decided when it had come."""
    from gateway.arrival.judge import ArrivalJudge
    from gateway.clock import utc_now
    from gateway.fetch.notes import FetchNotes
    from gateway.objects.in_flight import InFlight
    from gateway.objects.store import ObjectStore
    from gateway.processes.setup import OBJECTS_FOLDER
    from gateway.steer.missing import ArrivalView, arrival_in_words
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
            view = ArrivalView(objects, judge, settings.fetch, fetched, one.runs)
            yield from arrival_in_words(one.study, view, utc_now())
    except SettingsError as error:
        yield f"arrival: it cannot be judged: {error}"
    except OSError as error:
        yield f"arrival: its objects cannot be read ({error.strerror}); ask as the user that the gateway runs as"


def _refuse_arriving(one: StudyOverview) -> None:
    """Say of a study that is still arriving that no run of it can be steered yet."""
    if one.state == "arriving":
        raise usage_error(
            "the study is still arriving, and no run of it was asked for yet: what it waits for, `show` says"
        )


@app.command(name="serve")
def serve_command(config: Config = _DEFAULT_CONFIG) -> None:
    """Run the gateway: receive studies, score them, send the reports. Ends in order on SIGTERM.

    \f
    Raises
    ------
    typer.Exit
        Always, with an exit code: 0 after an orderly stop, 2 for wrong settings or where another gateway runs in the folder.
    """
    from gateway.processes.supervisor import serve_gateway

    raise typer.Exit(serve_gateway(config, _settings(config)))


@gateway_app.command()
def status(config: Config = _DEFAULT_CONFIG) -> None:
    """Show whether the gateway is ready, its processes, runs and deliveries.

    Exit codes: 0 it is ready; 1 it is not.

    \f
    Raises
    ------
    typer.Exit
        With exit code 1 where it is not ready.
    """
    from gateway.clock import utc_now
    from gateway.health.heartbeat import read_processes
    from gateway.health.readiness import obstacles
    from gateway.processes.setup import what_is_expected
    from gateway.steer.destinations import destinations_in_words

    settings = _settings(config)
    overview = _overview(settings)
    found = obstacles(overview.engine, what_is_expected(settings))
    say("ready" if not found else "NOT ready")
    for obstacle in found:
        say(f"  {obstacle}")
    for note in read_processes(overview.engine):
        state = "silent" if note.is_silent(utc_now()) else "lives"
        say(f"process {note.name}: {state}, started {note.started_at.isoformat(timespec='seconds')}")
        if problem := note.detail.get("clinical_problem"):
            say(f"  {problem}")
    for run_state, count in overview.ledger.counts().items():
        if count:
            say(f"runs {run_state}: {count}")
    for delivery_state in ("waiting", "sent", "committed", "dead"):
        if deliveries := overview.book.in_state(delivery_state):
            say(f"deliveries {delivery_state}: {len(deliveries)}")
    for line in destinations_in_words((one.name for one in settings.send.destinations), overview.book):
        say(line)
    raise typer.Exit(ExitCode.DEFECT if found else ExitCode.REPORT_WRITTEN)


@gateway_app.command()
def studies(
    config: Config = _DEFAULT_CONFIG,
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

    for line in studies_in_lines(_overview(_settings(config)).studies(limit)):
        say(line)


@gateway_app.command()
def show(study: StudyName, config: Config = _DEFAULT_CONFIG) -> None:
    """Show everything that is known of a study, with its score or refusal; no name, id or date of the patient.

    \f
    Parameters
    ----------
    study, config
        As their help texts say.
    """
    from gateway.steer.study_lines import came_from, counted, study_in_lines

    settings = _settings(config)
    overview = _overview(settings)
    one = _study(overview, study)
    say(f"study {one.study.study_instance_uid}")
    say(f"hash in the log {one.hash}")
    say(f"{counted(one.objects, 'object')}, {one.conflicts} kept aside; state: {one.state}")
    if senders := came_from(one):
        say(f"came by {senders}")
    if one.last_received_at is not None:
        say(f"last object came {one.last_received_at.isoformat(timespec='seconds')}")
    for line in _arrival(settings, overview, one):
        say(line)
    for line in study_in_lines(one):
        say(line)


@gateway_app.command()
def retry(
    study: StudyName,
    config: Config = _DEFAULT_CONFIG,
    stat: Annotated[bool, typer.Option("--stat", help="Before all others.")] = False,
) -> None:
    """Run a parked study again; the executor takes it up within seconds. What a later run has overtaken stays parked.

    \f
    Parameters
    ----------
    study, config, stat
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2 where no run of it is parked, or a later one has overtaken it.
    """
    overview = _overview(_settings(config))
    one = _study(overview, study)
    # An older one has the contour or the row of then: its report would take the place of the later one's.
    asked = one.runs[-1:] if one.runs and one.runs[-1].state == "parked" else ()
    if not asked:
        parked = any(run.state == "parked" for run in one.runs)
        _refuse_arriving(one)
        raise usage_error("a later run has overtaken the parked one" if parked else "no run of this study is parked")
    overview.ledger.asked_again(asked[0].input.digest, urgent=stat or None)
    say("1 run(s) back in the queue")


@gateway_app.command()
def park(study: StudyName, config: Config = _DEFAULT_CONFIG) -> None:
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
    overview = _overview(_settings(config))
    one = _study(overview, study)
    parked = [run for run in one.runs if overview.ledger.park(run.input.digest, "PARKED: a person asked for it")]
    if not parked:
        _refuse_arriving(one)
        raise usage_error("no run of this study waits; one that is in a worker ends first")
    say(f"{len(parked)} run(s) parked")


@gateway_app.command()
def resend(
    study: StudyName,
    config: Config = _DEFAULT_CONFIG,
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

    settings = _settings(config)
    overview = _overview(settings)
    one = _study(overview, study)
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


@gateway_app.command()
def purge(
    study: StudyName,
    config: Config = _DEFAULT_CONFIG,
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

    settings = _settings(config)
    overview = _overview(settings)
    one = _study(overview, study)
    ends = {stored.study: stored.end for stored in stored_studies(overview.engine)}
    if ends.get(one.study, "delivered") != "delivered" and not yes:
        raise usage_error("its result is not confirmed everywhere that it had to go; --yes removes it all the same")
    with ObjectStore(settings.folder / OBJECTS_FOLDER, overview.engine, settings.storage.limits) as objects:
        say(f"{remove_study(one.study, objects, overview.results, settings.folder / COPIES_FOLDER)} objects removed")


@gateway_app.command(name="check-config")
def check_config(
    config: Config = _DEFAULT_CONFIG,
    study: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it
        typer.Option(
            "--study",
            metavar="STUDY",
            help="A received study: what each rule would do with it. Without it: with a study from each source.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check `gateway.yaml` and all that it names, and say what each rule would do with a received study.

    It looks at `app.yaml`, the model, folders, certificates, secrets, databases and ports as the user who runs it, and makes
    nothing. Whether destinations answer, `send-test` finds out.

    Exit codes: 0 all is well; 2 something is wrong: every mistake is told.

    \f
    Parameters
    ----------
    config, study
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2 where something is wrong.
    """
    _need_packages()
    from gateway.steer.packages import faults_of_programs

    if faults := list(faults_of_programs()):
        raise usage_error("\n".join(faults))
    from gateway.settings.file import validated_gateway
    from gateway.steer.check import faults_of_place, faults_of_sound_part, is_running, loaded_application
    from gateway.steer.preview import previewed_rules, previewed_study, warnings_of_rules
    from pdl1es.settings_file import SettingsError, read_settings_mapping

    try:
        document = read_settings_mapping(config)
    except SettingsError as error:
        raise usage_error(str(error)) from error
    settings = None
    try:
        settings = validated_gateway(document, str(config))
    except SettingsError as error:
        faults = [
            str(error),
            *(f"{config}: {fault}" for fault in faults_of_sound_part(document)),
            "what the sections with faults name (folders, certificates, databases, ports) is looked at when these are mended",
        ]
    application, model, found = loaded_application(document)
    faults += found
    if settings is not None:
        faults += [f"{config}: {fault}" for fault in faults_of_place(settings)]
    if settings is None or application is None or model is None or faults:
        raise usage_error("\n".join(faults))
    data = model.metadata.training_data
    warnings = list(warnings_of_rules(settings, application, data))
    for warning in warnings:
        say(f"warning: {warning}")
    say(f"{config}: no mistake found{', but see the warnings above' if warnings else ''}")
    if is_running(settings.folder):
        say("a gateway of this folder is running; it has the settings that it was started with")
    say(f"model: {model.metadata.name} {model.metadata.version}, trained on {data} data")
    if data != "patients":
        say(
            "  a demonstration: its reports leave this machine only with allow_demonstration: true, and say what they are"
        )
    if study is None:
        lines = previewed_rules(settings, application, data)
    else:
        overview = _overview(settings)
        lines = previewed_study(_study(overview, study), overview, settings, application, data)
    for line in lines:
        say(line)


@gateway_app.command(name="send-test")
def send_test(
    config: Config = _DEFAULT_CONFIG,
    to: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it
        typer.Option("--to", help="A destination; all where it is left out.", show_default=False),
    ] = None,
) -> None:
    """Ask each destination whether it would take something; nothing is sent.

    Exit codes: 0 all would; 1 one would not; 2 there is no such destination.

    \f
    Parameters
    ----------
    config, to
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 1 or 2.
    """
    settings = _settings(config)
    from gateway.database import open_database
    from gateway.peers.failures import PeerError
    from gateway.send.sender import Sender

    names = [destination.name for destination in settings.send.destinations]
    if unknown := set(to or ()) - set(names):
        raise usage_error(f"no destination is called {', '.join(sorted(unknown))}")
    if not names:
        say("there are no destinations: results stay in the gateway")
    # Nothing is read from the database or written to it: the test works before the first start.
    sender = Sender(settings.send, open_database(settings.database_url))
    failed = False
    for name in to or names:
        try:
            sender.destination(name).test()
        except PeerError as error:
            failed = True
            say(f"{name}: {error}")
        else:
            say(f"{name}: would take results")
    raise typer.Exit(ExitCode.DEFECT if failed else ExitCode.REPORT_WRITTEN)

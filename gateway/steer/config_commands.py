"""`pdl1es gateway check-config | send-test`: whether the settings, and all that they name, will do."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from gateway.steer.command_options import DEFAULT_CONFIG, Config, named_study, need_packages, overview_of, settings_of
from pdl1es.console import say, usage_error
from pdl1es.exit_code import ExitCode


def check_config(
    config: Config = DEFAULT_CONFIG,
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
    need_packages()
    from gateway.steer.packages import faults_of_programs

    if faults := list(faults_of_programs()):
        raise usage_error("\n".join(faults))
    from gateway.settings.file import validated_gateway
    from gateway.steer.check import (
        faults_of_place,
        faults_of_sound_part,
        is_running,
        loaded_application,
        notes_of_place,
    )
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
    warnings = [*notes_of_place(settings), *warnings_of_rules(settings, application, data)]
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
        overview = overview_of(settings)
        lines = previewed_study(named_study(overview, study), overview, settings, application, data)
    for line in lines:
        say(line)


def send_test(
    config: Config = DEFAULT_CONFIG,
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
    settings = settings_of(config)
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

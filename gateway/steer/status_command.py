"""`pdl1es gateway status`: how the gateway is."""

from __future__ import annotations

from datetime import datetime

import typer

from gateway.steer.command_options import DEFAULT_CONFIG, Config, overview_of, settings_of
from pdl1es.console import say
from pdl1es.exit_code import ExitCode


def status(config: Config = DEFAULT_CONFIG) -> None:
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
    from gateway.health.readiness import SINCE, dated, notices, obstacles
    from gateway.processes.setup import SETTINGS, what_is_expected
    from gateway.receive.passed_over import passed_over_in_words
    from gateway.settings.handed_down import configuration_digest
    from gateway.steer.destinations import destinations_in_words

    settings = settings_of(config, "a gateway that runs goes on with the settings that it was started with")
    own = configuration_digest(settings)
    overview = overview_of(settings)
    processes = read_processes(overview.engine)
    since = {key: datetime.fromisoformat(at) for note in processes for key, at in note.detail.get(SINCE, {}).items()}
    found = dated(obstacles(overview.engine, what_is_expected(settings)), since)
    say("ready" if not found else "NOT ready")
    for obstacle in found:
        say(f"  {obstacle}")
    for line in notices(overview.engine):
        say(line)
    if any(note.detail.get(SETTINGS, own) != own for note in processes):
        say(f"{config} is not what the gateway runs by: it was changed since; a restart of `pdl1es serve` takes it up")
    for note in processes:
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
    for line in passed_over_in_words(overview.engine, utc_now()):
        say(line)
    raise typer.Exit(ExitCode.DEFECT if found else ExitCode.REPORT_WRITTEN)

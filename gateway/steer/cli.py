"""The commands `pdl1es serve` and `pdl1es gateway ...`, as `pdl1es.command_line.cli` attaches them.

Names, options and help need only typer; a command imports everything else when it runs.
"""

from __future__ import annotations

import typer

from gateway.steer.command_options import DEFAULT_CONFIG, Config, settings_of
from gateway.steer.config_commands import check_config, send_test
from gateway.steer.result_commands import purge, resend
from gateway.steer.status_command import status
from gateway.steer.study_commands import park, retry, show, studies

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
gateway_app = typer.Typer(
    no_args_is_help=True,
    help="Steer the gateway: what it does with its studies, and what it should do with one. A study is named by its Study "
    "Instance UID or by the hash that stands in the log.",
)
app.add_typer(gateway_app, name="gateway")
for command in (status, studies, show, retry, park, resend, purge, check_config, send_test):
    gateway_app.command()(command)


@app.command(name="serve")
def serve_command(config: Config = DEFAULT_CONFIG) -> None:
    """Run the gateway: receive studies, score them, send the reports. Ends in order on SIGTERM.

    \f
    Raises
    ------
    typer.Exit
        Always, with an exit code: 0 after an orderly stop, 2 for wrong settings or where another gateway runs in the folder.
    """
    from gateway.processes.supervisor import serve_gateway

    raise typer.Exit(serve_gateway(settings_of(config), config))

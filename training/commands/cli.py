"""The commands for training, as groups that `pdl1es.command_line.cli` attaches; heavy packages are imported when a command runs."""

from __future__ import annotations

import typer

from training.commands.cohort import cohort_app
from training.commands.evaluation import controls, evaluate, prognosis, report, reproduce, retest
from training.commands.train import export, train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From a cohort's table to the model that the chain serves, and to a report beside the paper's.",
)
app.add_typer(cohort_app, name="cohort")
app.command("train")(train)
app.command("export")(export)
for command in (evaluate, prognosis, report, controls, retest, reproduce):
    app.command()(command)


if __name__ == "__main__":
    app()

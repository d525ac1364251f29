"""The commands for training, as one group that `pdl1es.command_line.cli` attaches.

Names, options and help need only typer; a command imports everything else when it runs.
"""

from __future__ import annotations

import typer

from training.commands.checklists import checklists
from training.commands.cohort import cohort_app
from training.commands.controls import controls
from training.commands.evaluate import evaluate
from training.commands.export import export
from training.commands.perturb import perturb
from training.commands.pretrain import pretrain
from training.commands.prognosis import prognosis
from training.commands.replicate import replicate
from training.commands.report import report
from training.commands.reproduce import reproduce
from training.commands.retest import retest
from training.commands.sample_size import sample_size
from training.commands.train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From a cohort's table to the model that the chain serves, and to a report beside the paper's.",
)
cohort_app.command()(perturb)
app.add_typer(cohort_app, name="cohort")
COMMANDS = (
    pretrain,
    train,
    export,
    evaluate,
    prognosis,
    report,
    controls,
    retest,
    replicate,
    checklists,
    sample_size,
    reproduce,
)
for command in COMMANDS:
    app.command()(command)


if __name__ == "__main__":
    app()

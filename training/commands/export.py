"""The command ``pdl1es export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pdl1es.console import labelled, progress_bars, say
from training.commands.endings import told_errors


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a finished run.", exists=True, file_okay=False, show_default=False
        ),
    ],
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="Folder for model.onnx, its card and metadata.", file_okay=False, show_default=False
        ),
    ],
    cut_offs: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option(
            "--cut-offs",
            help="cut_offs.json of `prognosis`: cut-offs and Cox models. Without it they are placeholders, and the card says so.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the model.")] = "PD-L1ES",
    version: Annotated[str, typer.Option("--model-version", help="Of the model.")] = "1.0.0",
    description: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--trained-on", help="One sentence of the cohort, for report and card: centre, years, selection."),
    ] = None,
) -> None:
    """Write the signature of a run as the one file that the chain serves, with its card; checked against torch.

    Exit codes: 0 written; 1 the file is not what the network is; 2 usage.

    \f
    Parameters
    ----------
    run, folder, cut_offs, name, version, description
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the run is not finished, or the cut-offs are another model's; with 1: the file is not what the
        network is.
    """
    from training.release.export_run import release

    exporting = "Exporting"
    with told_errors(), progress_bars() as told:
        # torch's own export does not report its progress
        told(exporting, 0, None)

        def compared(done: int, cases: int) -> None:
            told(exporting, 1, 1)
            told("Comparing onnxruntime with torch", done, cases)

        released = release(
            run, folder, cut_offs_file=cut_offs, name=name, version=version, cohort=description, progress=compared
        )
    say(
        f"{folder / 'model.onnx'}: {released.size} bytes; torch against onnxruntime on {released.cases} random cases: "
        f"{released.difference:.1e}"
    )
    for note in released.placeholders:
        labelled("placeholder", note)

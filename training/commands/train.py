"""The commands ``pdl1es train`` and ``pdl1es export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="PREPARED", help="Folder that `cohort prepare` wrote.", exists=True, file_okay=False, show_default=False
    ),
]


def train(
    prepared: Folder,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of the run; called again on it, the run goes on.",
            file_okay=False,
            show_default=False,
        ),
    ],
    config: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option(
            "--config",
            help="JSON with any fields of the training's configuration; options below win.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    seed: Annotated[Optional[int], typer.Option("--seed", min=0, help="Default 0.")] = None,  # noqa: UP045
    epochs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--epochs", min=1, help="Epochs of each of the three learning rates; default 20, the paper's."),
    ] = None,
    patience: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--patience", min=1, help="Epochs without a better validation AUC that end a stage; default 8."),
    ] = None,
    augmentation: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--augmentation", help="`modest` (default) or `off`."),
    ] = None,
    redivisions: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--redivisions", min=0, help="How often validation and test are drawn anew; default 2, the paper's."
        ),
    ] = None,
    correction: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--correction", help="Of the feature selection's P values: `none` (default), `holm`, `benjamini-hochberg`."
        ),
    ] = None,
    layers: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--layers", help="`densenet121` (default), or `small`: a test of the mechanics in seconds."),
    ] = None,
    pretrained: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--pretrained",
            help="ImageNet weights of DenseNet121 that you have (torchvision's or MONAI's .pth).",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    accelerator: Annotated[str, typer.Option("--accelerator", help="Lightning's: auto, cpu, gpu ...")] = "auto",
    devices: Annotated[str, typer.Option("--devices", help="Lightning's: auto, a number, or which: 0,3.")] = "auto",
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines.")] = 1,
    strategy: Annotated[str, typer.Option("--strategy", help="Lightning's: auto, ddp ...")] = "auto",
    precision: Annotated[
        str,
        typer.Option("--precision", help="auto (bf16 where the processor multiplies in it), 32-true, bf16-mixed."),
    ] = "auto",
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--threads", min=1, help="Of the processor; 1 is quicker where others use the same cores."),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--workers", min=0, help="Processes that prepare batches; default: as many as pay."),
    ] = None,
    side_by_side: Annotated[
        int,
        typer.Option("--side-by-side", min=1, help="Networks trained at the same time, each in a process of its own."),
    ] = 1,
) -> None:
    """Train PD-L1ES and its comparators CM, RM and DLM, the re-divisions too, and score the cohort with each.

    A checkpoint is written after every epoch: stopped in any way and called again, it goes on. Exit codes: 0 the run is
    whole; 1 a process of `--side-by-side` failed; 2 usage, configuration or cohort.
    """
    from training.cohort.prepared import PreparedCohort, PreparedCohortError
    from training.train.config import ConfigurationError, read_configuration, read_hardware
    from training.train.division import DivisionError
    from training.train.pretrained import PretrainedError
    from training.train.progress import ConsoleObserver
    from training.train.run import train as train_all
    from training.train.run_folder import TrainingError
    from training.train.side_by_side import SideBySideError

    given = {
        "seed": seed,
        "patience": patience,
        "augmentation": augmentation,
        "redivisions": redivisions,
        "correction": correction,
        "layers": layers,
    }
    try:
        asked = read_configuration(
            config, {name: value for name, value in given.items() if value is not None}, epochs=epochs
        )
        hardware = read_hardware(
            accelerator=accelerator,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            precision=precision,
            threads=threads,
            compiled=compiled,
            workers=workers,
            side_by_side=side_by_side,
        )
        cohort = PreparedCohort.load(prepared)
        with ConsoleObserver() as observer:
            summary = train_all(cohort, out, asked, hardware=hardware, pretrained=pretrained, observer=observer)
    except (ConfigurationError, PreparedCohortError, DivisionError, PretrainedError, TrainingError) as error:
        raise _usage(str(error)) from error
    except SideBySideError as error:
        raise _defect(str(error)) from error
    # of several processes one gathers the numbers
    if summary["networks"]:
        _show(summary)


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
        Optional[Path],  # noqa: UP045
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
    """
    from training.release.export_run import release
    from training.train.run_folder import TrainingError

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            # how long torch's own export takes, nobody tells
            task = bars.add_task("Exporting", total=None)
            released = release(
                run,
                folder,
                cut_offs_file=cut_offs,
                name=name,
                version=version,
                cohort=description,
                progress=lambda done, cases: bars.update(
                    task, description="Comparing onnxruntime with torch", completed=done, total=cases
                ),
            )
    except (TrainingError, ValueError) as error:
        raise _usage(str(error)) from error
    console.print(
        f"{folder / 'model.onnx'}: {released.size} bytes; torch against onnxruntime on {released.cases} random cases: "
        f"{released.difference:.1e}",
        highlight=False,
        soft_wrap=True,
    )
    for note in released.placeholders:
        console.print(f"[yellow]placeholder[/] {escape(note)}", highlight=False, soft_wrap=True)


def _show(summary: dict[str, object]) -> None:
    """Print a table of areas."""
    from rich.table import Table

    table = Table(title="AUC with 95 % interval (DeLong), patients")
    for column in ("model", "train", "validation", "test", "epochs", "patches/s", "waiting for data"):
        table.add_column(column)
    networks: dict[str, dict] = dict(summary["networks"])  # type: ignore[call-overload]  # a document
    for number, again in summary["redivisions"].items():  # type: ignore[attr-defined]  # a document
        networks |= {f"{name}, re-division {number}": document for name, document in again.items()}
    for name, document in networks.items():
        cells = []
        for split in ("train", "validation", "test"):
            area = document["auc"].get(split)
            cells.append(f"{area['value']:.2f} ({area['lower']:.2f}-{area['upper']:.2f})" if area else "-")
        table.add_row(
            name,
            *cells,
            f"{document['epochs']} of {document['epochs_planned']}",
            f"{document['patches_per_second']:.0f}",
            f"{100 * document['waiting_for_data']:.1f} %",
        )
    Console().print(table)


def _usage(message: str) -> typer.Exit:
    return _ended(message, 2)


def _defect(message: str) -> typer.Exit:
    return _ended(message, 1)


def _ended(message: str, code: int) -> typer.Exit:
    Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(message)}", highlight=False)
    return typer.Exit(code)

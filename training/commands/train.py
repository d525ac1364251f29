"""The command ``pdl1es train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from pdl1es.console import standard_output
from training.commands.endings import told_errors
from training.commands.options import Accelerator, Compiled, Precision, Prepared, SideBySide


def train(
    prepared: Prepared,
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
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--recipe",
            help="`paper` (default): every weight is trained on the labels; `label-free`: the network stays as it was "
            "pretrained (`pretrain`), and only the linear layer is fitted.",
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
            help="Weights of DenseNet121: of `pretrain`, or ImageNet's that you have (torchvision's or MONAI's .pth).",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    stability: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--stability",
            help="Folder of `cohort perturb`, or a prepared cohort of second scans: features that do not repeat in the training "
            "patients are not selected.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    smallest_icc: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--smallest-icc", help="Lower limit of ICC(1,1)'s 95 % interval that a feature needs; default 0.75."
        ),
    ] = None,
    largest_correlation: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--largest-correlation",
            help="Absolute Spearman correlation that two selected features may have, as 0.9; default: any.",
        ),
    ] = None,
    accelerator: Accelerator = "auto",
    devices: Annotated[str, typer.Option("--devices", help="Lightning's: auto, a number, or which: 0,3.")] = "auto",
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines.")] = 1,
    strategy: Annotated[str, typer.Option("--strategy", help="Lightning's: auto, ddp ...")] = "auto",
    precision: Precision = "auto",
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--threads", min=1, help="Of the processor; 1 is quicker where others use the same cores."),
    ] = None,
    compiled: Compiled = False,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--workers", min=0, help="Processes that prepare batches; default: as many as pay."),
    ] = None,
    side_by_side: SideBySide = 1,
) -> None:
    """Train PD-L1ES and its comparators CM, RM and DLM, the re-divisions too, and score the cohort with each.

    A checkpoint is written after every epoch: a stopped run continues when the command is called again. Exit codes: 0
    the run is whole; 1 a process of `--side-by-side` failed; 2 usage, configuration or cohort.

    \f
    Parameters
    ----------
    prepared, out, config, recipe, seed, epochs, patience, augmentation, redivisions, correction, layers, pretrained,
    stability, smallest_icc, largest_correlation, accelerator, devices, nodes, strategy, precision, threads, compiled, workers, side_by_side
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: configuration or cohort is wrong, or the folder holds another run; with 1: a process failed.
    """
    from training.cohort.prepared import PreparedCohort
    from training.train.config import read_configuration, read_hardware
    from training.train.progress import ConsoleObserver
    from training.train.run import train as train_all

    given = {
        "recipe": recipe,
        "seed": seed,
        "patience": patience,
        "augmentation": augmentation,
        "redivisions": redivisions,
        "correction": correction,
        "layers": layers,
    }
    filters = {"smallest_icc": smallest_icc, "largest_correlation": largest_correlation}
    with told_errors():
        asked = read_configuration(
            config,
            {name: value for name, value in given.items() if value is not None},
            epochs=epochs,
            filters={name: value for name, value in filters.items() if value is not None},
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
            summary = train_all(
                cohort,
                out,
                asked,
                hardware=hardware,
                pretrained=pretrained,
                stability=stability,
                observer=observer,
            )
    # of several processes only one gathers the numbers
    if summary["networks"]:
        show_areas(summary)


def _fitted(document: dict[str, Any]) -> str:
    """Say how a network came to its weights."""
    if document.get("recipe") == "label-free":
        from training.train.summary import strengths_in_words

        return f"ridge: {strengths_in_words(document)}; train and validation out of fold"
    return (
        f"{document['epochs']} of {document['epochs_planned']} epochs, {document['patches_per_second']:.0f} patches/s, "
        f"{100 * document['waiting_for_data']:.1f} % of it waiting for data"
    )


def show_areas(summary: dict[str, object]) -> None:
    """Print a table of areas, 80 columns wide at the most, and how each network came to its weights."""
    from rich.table import Table

    from training.train.filters import filters_in_words

    table = Table(title="AUC with 95 % interval, patients")
    table.add_column("model")
    for column in ("train", "validation", "test"):
        table.add_column(column, no_wrap=True)
    networks: dict[str, dict] = dict(summary["networks"])  # type: ignore[call-overload]  # a document
    for number, again in summary["redivisions"].items():  # type: ignore[attr-defined]  # a document
        networks |= {f"{name}, re-division {number}": document for name, document in again.items()}
    for name, document in networks.items():
        cells = []
        for split in ("train", "validation", "test"):
            area = document["auc"].get(split)
            cells.append(f"{area['value']:.2f} ({area['lower']:.2f}-{area['upper']:.2f})" if area else "-")
        table.add_row(name, *cells)
    output = standard_output()
    output.print(table)
    for name, document in networks.items():
        output.print(f"{name}: {_fitted(document)}", highlight=False)
    fitted: dict[str, Any] = summary["fitted"]  # type: ignore[assignment]  # a document
    if words := filters_in_words(fitted.get("filters", {})):
        output.print(words, highlight=False)

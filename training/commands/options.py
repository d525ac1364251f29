"""Arguments and options that several commands take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer


class ScannerBatch(StrEnum):
    """What may tell scanners apart: `training.expression.scanners.BATCHES`."""

    manufacturer = "manufacturer"
    model = "model"
    kernel = "kernel"
    site = "site"


Table = Annotated[
    Path,
    typer.Argument(metavar="COHORT.csv", help="One patient per row.", exists=True, dir_okay=False, show_default=False),
]
Prepared = Annotated[
    Path,
    typer.Argument(
        metavar="PREPARED", help="Folder that `cohort prepare` wrote.", exists=True, file_okay=False, show_default=False
    ),
]
CohortFolder = Annotated[
    Path, typer.Argument(metavar="OUTPUT", help="Folder; made where missing.", file_okay=False, show_default=False)
]
ReportFolder = Annotated[
    Path,
    typer.Argument(
        metavar="OUTPUT", help="Folder of the report; made where missing.", file_okay=False, show_default=False
    ),
]

# Scheduler and number of processes
Scheduler = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it
    typer.Option(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="A Dask scheduler whose workers see the same paths; default: processes of this machine.",
        show_default=False,
    ),
]
Workers = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--workers", min=1, help="Processes of this machine; default: one per core.", show_default=False),
]

# What is evaluated
Run = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--run", help="Folder of a training run: its signature and comparators.", exists=True, file_okay=False
    ),
]
Model = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--model",
        help="Folder of any exported model.onnx, whose own cut-offs are then tested (external validation).",
        exists=True,
        file_okay=False,
    ),
]
Beside = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--beside",
        metavar="NAME=FOLDER",
        help="A further exported model to compare with, as DLM=FOLDER; may be repeated.",
    ),
]
Control = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--control",
        metavar="NAME=PREPARED",
        help="A cohort that `controls` prepared: the same patients, disturbed; may be repeated.",
    ),
]
Images = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--table", help="cohort.csv, to find the images that Figure 5 shows.", exists=True, dir_okay=False),
]
TubeCurrentCut = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--tube-current-cut", help="mA; default: the paper's 290, and the cohort's median beside it."),
]
Baselines = Annotated[
    bool,
    typer.Option(
        "--baselines/--no-baselines",
        help="Fit baselines on the training patients and compare them: clinical logistic regression, LASSO, boosting.",
    ),
]
ScannersBy = Annotated[
    ScannerBatch,
    typer.Option("--scanners-by", help="What tells scanners apart where features are compared between them."),
]
Nested = Annotated[
    int,
    typer.Option(
        "--nested",
        min=0,
        metavar="REPEATS",
        help="Repeat nested cross-validation so often: of a `label-free` run all that looks at a label; else of radiomics and "
        "clinical variables. 0 omits it.",
    ),
]
Stability = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--stability",
        help="Folder that the run was trained with (`train --stability`), for --nested.",
        exists=True,
        file_okay=False,
    ),
]
Permutations = Annotated[
    int, typer.Option("--permutations", min=1, help="Behind each P that is corrected for the search of a cut-off.")
]
SmallestShare = Annotated[
    float, typer.Option("--smallest-share", min=0.0, max=0.49, help="Of patients on either side of a cut-off.")
]

# What networks are trained on
Accelerator = Annotated[str, typer.Option("--accelerator", help="Lightning's: auto, cpu, gpu ...")]
Precision = Annotated[
    str, typer.Option("--precision", help="auto (bf16 where the processor multiplies in it), 32-true, bf16-mixed.")
]
Compiled = Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")]
SideBySide = Annotated[
    int,
    typer.Option("--side-by-side", min=1, help="Networks trained at the same time, each in a process of its own."),
]

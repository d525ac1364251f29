"""The command ``pdl1es replicate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pdl1es.console import labelled, progress_bar, say
from training.commands.endings import told_errors
from training.commands.options import CohortFolder, Table


def replicate(
    signature: Annotated[
        Path,
        typer.Argument(
            metavar="SIGNATURE.yaml",
            help="A published signature: features, coefficients, settings.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    table: Table,
    output: CohortFolder,
    config: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it
        typer.Option(
            "--config", help="Settings as for `run`: selection, protocol, plausibility.", exists=True, dir_okay=False
        ),
    ] = None,
) -> None:
    """Rebuild a published radiomics signature, export it as ONNX and evaluate it on a cohort beside tumour volume alone.

    Its features are computed by pyradiomics with the signature's own settings, never taken from the 1316 of this method. An
    incomplete publication is refused: everything that is missing is named, with what it prevents. Computed features are
    kept; a stopped call continues. Exit codes: 0 written; 1 the file is not what the signature is; 2 usage.

    \f
    Parameters
    ----------
    signature, table, output, config
        As their help texts say.

    Raises
    ------
    typer.Exit
        With exit code 2: the signature is incomplete, the table cannot be read, or no patient could be scored.
    """
    from training.cohort.sources import preparation_settings
    from training.cohort.table import read_cohort
    from training.replication.run import MODEL, PAGE_FILE, SCORES_FILE, replicate_signature
    from training.replication.signature_file import read_signature

    with told_errors():
        published = read_signature(signature)
        checked = read_cohort(table, without_outcome=True)
        for fault in checked.faults:
            labelled("left out", str(fault))
        with progress_bar("Computing features") as told:
            found = replicate_signature(published, checked, output, preparation_settings(config), told)
    failed = found.scores[found.scores["failure"].notna()]
    for reason, count in failed["failure"].value_counts().items():
        labelled("failed", f"{count}: {reason}")
    say(f"onnxruntime against numpy: {found.difference:.1e}; {output / MODEL / 'model.onnx'}")
    say(f"scores: {output / SCORES_FILE}")
    say(f"result: {output / PAGE_FILE}")

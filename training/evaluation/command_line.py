"""The commands ``pdl1es evaluate``, ``pdl1es prognosis`` and ``pdl1es retest``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdl1es.model import FusionModel
    from training.cohort.case import CaseSource, PreparationSettings
    from training.cohort.prepared import PreparedCohort
    from training.evaluation.scored import Progress as Told
    from training.evaluation.scored import ScoredCohort

Prepared = Annotated[
    Path,
    typer.Argument(
        metavar="PREPARED", help="Folder that `cohort prepare` wrote.", exists=True, file_okay=False, show_default=False
    ),
]
Output = Annotated[
    Path,
    typer.Argument(
        metavar="OUTPUT", help="Folder of the report; made where missing.", file_okay=False, show_default=False
    ),
]
Run = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it
    typer.Option(
        "--run", help="Folder of a training run: its signature and comparators.", exists=True, file_okay=False
    ),
]
Model = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it
    typer.Option(
        "--model",
        help="Folder of any exported model.onnx, whose own cut-offs are then tested (external validation).",
        exists=True,
        file_okay=False,
    ),
]


def evaluate(
    prepared: Prepared,
    output: Output,
    run: Run = None,
    model: Model = None,
    beside: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--beside",
            metavar="NAME=FOLDER",
            help="A further exported model to compare with, as DLM=FOLDER; may be repeated.",
        ),
    ] = None,
    control: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--control",
            metavar="NAME=PREPARED",
            help="A cohort that `controls` prepared: the same patients, disturbed; may be repeated.",
        ),
    ] = None,
    table: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--table", help="cohort.csv, to find the images that Figure 5 shows.", exists=True, dir_okay=False
        ),
    ] = None,
    tube_current_cut: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--tube-current-cut", help="mA; default: the paper's 290, and the cohort's median beside it."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of resamples and folds.")] = 0,
) -> None:
    """Evaluate how well the score tells high PD-L1 expression: report.html, report.json and figures.

    Give either a training run or any exported model. Exit codes: 0 the report is written; 2 usage.
    """
    from training.evaluation.analysis import (
        AnalysisOptions,
        analyse_cohort,
        attention_of,
        figure_5,
        figures_of,
        flow_chart_of,
        redivision_areas,
        run_network,
        write_analysis,
    )
    from training.evaluation.evaluate import EvaluationSettings
    from training.statistics.strata import TUBE_CURRENT_CUT_MA

    with _reported_errors():
        from training.cohort.prepared import PreparedCohort

        cohort = PreparedCohort.load(prepared)
        controls = {name: PreparedCohort.load(folder) for name, folder in _pairs(control).items()}
        with _bars() as told:
            loaded, scored, provenance = _scored(cohort, run, model, _pairs(beside), controls, told)
            options = AnalysisOptions(
                evaluation=EvaluationSettings(tube_current_cut_ma=tube_current_cut or TUBE_CURRENT_CUT_MA, seed=seed),
                cut_off=None if loaded is None else loaded.metadata.expression_cut_off.value,
                cut_off_source="the exported model's own",
            )
            analysed = analyse_cohort(scored, options, progression=False)
            drawn = {**flow_chart_of(cohort, scored), **figures_of(analysed, progression=False)}
            attention = None
            if run is not None:
                network = run_network(run)
                attention = attention_of(cohort, scored, network)
                if table is not None:
                    drawn |= figure_5(scored, network, *_sources(table), attention)
            write_analysis(
                output,
                "PD-L1ES: expression",
                cohort,
                analysed,
                drawn,
                provenance,
                progression=False,
                redivisions=() if run is None else redivision_areas(run),
                gates=analysed.gates,
                attention=attention,
                progress=told,
            )
    _say(output)


def prognosis(
    prepared: Prepared,
    output: Output,
    run: Run = None,
    model: Model = None,
    permutations: Annotated[
        int, typer.Option("--permutations", min=1, help="Behind each P that is corrected for the search of a cut-off.")
    ] = 2000,
    smallest_share: Annotated[
        float, typer.Option("--smallest-share", min=0.0, max=0.49, help="Of patients on either side of a cut-off.")
    ] = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of permutations and halves.")] = 0,
) -> None:
    """Analyse progression-free survival by the score: report, figures, and cut_offs.json for `export`.

    Give either a training run or any exported model. Exit codes: 0 the report is written; 2 usage.
    """
    from training.evaluation.analysis import AnalysisOptions, analyse_cohort, figures_of, write_analysis
    from training.evaluation.cut_offs import model_digest
    from training.evaluation.estimability import NotEstimable
    from training.evaluation.predictions import SIGNATURE
    from training.evaluation.prognosis import PrognosisSettings
    from training.train.run import NETWORKS

    with _reported_errors():
        from training.cohort.prepared import PreparedCohort

        cohort = PreparedCohort.load(prepared)
        with _bars() as told:
            loaded, scored, provenance = _scored(cohort, run, model, {}, {}, told)
            options = AnalysisOptions(
                prognosis=PrognosisSettings(smallest_share, permutations, seed),
                model=model_digest((model or Path()) if run is None else run / NETWORKS / SIGNATURE),
                cut_off=None if loaded is None else loaded.metadata.expression_cut_off.value,
                progression_cut_off=None if loaded is None else loaded.metadata.progression_cut_off.value,
            )
            analysed = analyse_cohort(scored, options, progress=told)
            if isinstance(analysed.prognosis, NotEstimable):
                raise UsageError(f"progression cannot be analysed: {analysed.prognosis.reason}")
            write_analysis(
                output,
                "PD-L1ES: progression",
                cohort,
                analysed,
                figures_of(analysed, expression=False),
                provenance,
                expression=False,
                progress=told,
            )
    _say(output)


def controls(
    table: Annotated[
        Path, typer.Argument(metavar="COHORT.csv", help="The cohort's table.", exists=True, dir_okay=False)
    ],
    prepared: Prepared,
    output: Output,
    kind: Annotated[str, typer.Option("--kind", help="`shuffled voxels` or `mask in healthy lung`.")],
    split: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--split", help="Of whom; may be repeated; default: everybody."),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--workers", min=1, help="Processes of this machine; default: one a core.", show_default=False),
    ] = None,
) -> None:
    """Prepare the same patients with disturbed inputs, as a further prepared cohort for `evaluate --control`."""
    from training.evaluation.controls import CONTROLS, prepare_control

    with _reported_errors():
        import numpy as np

        from training.cohort.prepared import PreparedCohort

        wanted = next((control for control in CONTROLS if control == kind), None)
        if wanted is None:
            raise UsageError(f"the kinds are {' and '.join(CONTROLS)}, got {kind!r}")
        cohort = PreparedCohort.load(prepared)
        if split:
            cohort = cohort.subset(np.isin(cohort.cases["split"].to_numpy(dtype=object), split))
        with _bars() as told:
            made = prepare_control(
                cohort,
                *_sources(table),
                wanted,
                output,
                workers=workers,
                progress=lambda done, of: told(kind, done, of),
            )
    Console().print(f"{len(made)} patients, {len(made.failures)} could not be disturbed so: {output}", highlight=False)


def retest(
    first: Annotated[
        Path, typer.Argument(metavar="FIRST", help="Prepared cohort.", exists=True, file_okay=False, show_default=False)
    ],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="SECOND",
            help="The same patients, same pseudonyms, scanned again.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    output: Output,
    model: Annotated[
        Path, typer.Option("--model", help="Folder of any exported model.onnx.", exists=True, file_okay=False)
    ],
) -> None:
    """Compare two scans of the same patients: ICC of every feature, repeatability of the score, groups that flip."""
    from training.evaluation.analysis import provenance_of
    from training.evaluation.report import DEMONSTRATION, ReportContent, write_report
    from training.evaluation.scored import is_synthetic

    with _reported_errors():
        from pdl1es.model import FusionModel
        from training.cohort.prepared import PreparedCohort
        from training.evaluation.retest import retest_cohorts

        loaded = FusionModel.load(model, threads=1)
        one, two = PreparedCohort.load(first), PreparedCohort.load(second)
        with _bars() as told:
            found = retest_cohorts(one, two, loaded, progress=told)
        write_report(
            output,
            ReportContent(
                title="PD-L1ES: test and retest",
                warning=DEMONSTRATION if is_synthetic(one) else None,
                provenance=provenance_of(one, f"{loaded.metadata.name} {loaded.metadata.version}", loaded.sha256),
                evaluation=None,
                prognosis=None,
                retest=found,
            ),
        )
    _say(output)


def _scored(
    cohort: PreparedCohort,
    run: Path | None,
    model: Path | None,
    beside: Mapping[str, Path],
    controls: Mapping[str, PreparedCohort],
    told: Told,
) -> tuple[FusionModel | None, ScoredCohort, dict[str, str]]:
    """Return the exported model (or None), the scored cohort and where it comes from."""
    from pdl1es.model import FusionModel
    from training.evaluation.analysis import provenance_of, require_trained_on, run_predictions
    from training.evaluation.predictions import SIGNATURE
    from training.evaluation.scored import score_models, scored_cohort

    if (run is None) == (model is None):
        raise UsageError("give either --run or --model")
    if model is None and run is not None:
        if beside:
            raise UsageError("--beside goes with --model; a run has its own comparators")
        require_trained_on(run, cohort)
        table = run_predictions(run, controls, told)
        return None, scored_cohort(cohort, table, tuple(controls)), provenance_of(cohort, "a training run's PD-L1ES")
    loaded = FusionModel.load(model or Path(), threads=1)
    table = score_models(cohort, {SIGNATURE: loaded, **beside}, controls, told)
    provenance = provenance_of(cohort, f"{loaded.metadata.name} {loaded.metadata.version}", loaded.sha256)
    return loaded, scored_cohort(cohort, table, tuple(controls)), provenance


def _sources(table: Path) -> tuple[dict[str, CaseSource], PreparationSettings]:
    """Return where the patients' images lie, and the settings of the chain."""
    from app.settings import load_settings, settings_file
    from training.cohort.case import CaseSource, PreparationSettings
    from training.cohort.table import read_cohort

    settings = load_settings(settings_file(None))
    rows = [row for row in read_cohort(table).rows if row.ct is not None]
    chosen = PreparationSettings(selection=settings.selection, protocol=settings.protocol, limits=settings.limits)
    return {row.id: CaseSource.of(row) for row in rows}, chosen


def _pairs(given: list[str] | None) -> dict[str, Path]:
    """Return ``NAME=FOLDER`` by name."""
    pairs = {}
    for item in given or []:
        name, separator, folder = item.partition("=")
        if not (name and separator and Path(folder).is_dir()):
            raise UsageError(f"{item!r} is not NAME=FOLDER of a folder that exists")
        pairs[name] = Path(folder)
    return pairs


@contextmanager
def _bars() -> Iterator[Told]:
    """Show one bar for each thing that is done; yield what tells them."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        known: dict[str, TaskID] = {}

        def told(step: str, done: int, of: int) -> None:
            if step not in known:
                known[step] = bars.add_task(step, total=of)
            bars.update(known[step], completed=done, total=of)

        yield told


class UsageError(ValueError):
    """What was asked for cannot be; the message says why."""


@contextmanager
def _reported_errors() -> Iterator[None]:
    """Turn what a user can put right into one sentence and exit code 2, a process that failed into one and code 1.

    Any other defect keeps its traceback.
    """
    from app.settings import SettingsError
    from pdl1es.errors import Refusal
    from training.cohort.prepared import PreparedCohortError
    from training.cohort.synthesise import SynthesisError
    from training.cohort.table import CohortTableError
    from training.evaluation.predictions import PredictionsError
    from training.train.config import ConfigurationError
    from training.train.division import DivisionError
    from training.train.run import TrainingError
    from training.train.side_by_side import SideBySideError

    try:
        yield
    except SideBySideError as error:
        raise _ended(str(error), 1) from error
    except (
        UsageError,
        SettingsError,
        Refusal,
        PreparedCohortError,
        SynthesisError,
        CohortTableError,
        ConfigurationError,
        PredictionsError,
        DivisionError,
        TrainingError,
    ) as error:
        raise _ended(str(error), 2) from error


def _ended(message: str, code: int) -> typer.Exit:
    Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(message)}", highlight=False)
    return typer.Exit(code)


def _say(output: Path) -> None:
    Console().print(f"report: {output / 'report.html'}", highlight=False, soft_wrap=True, markup=False)


def reproduce(
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="Folder of everything; called again on it, it goes on.",
            file_okay=False,
            show_default=False,
        ),
    ],
    small: Annotated[
        bool, typer.Option("--small", help="100 patients and two epochs: a check of the mechanics, not of any number.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the cohort and the training.")] = 0,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--workers", min=1, help="Processes for images; default: one a core.", show_default=False),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--config",
            help="JSON with any fields of the training's configuration; default: the paper's rates and epochs. --seed wins.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    accelerator: Annotated[str, typer.Option("--accelerator", help="Lightning's: auto, cpu, gpu ...")] = "auto",
    precision: Annotated[
        str,
        typer.Option("--precision", help="auto (bf16 where the processor multiplies in it), 32-true, bf16-mixed."),
    ] = "auto",
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--threads", min=1, help="Of the processor, for the training.", show_default=False),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    side_by_side: Annotated[
        int,
        typer.Option("--side-by-side", min=1, help="Networks trained at the same time, each in a process of its own."),
    ] = 1,
) -> None:
    """Synthesise, prepare, train, evaluate, export and report, from nothing; says each step's time and disk.

    Exit codes: 0 everything is whole; 1 a process of `--side-by-side` failed; 2 usage.
    """
    from training.reproduce import Reproduction, full_settings, small_settings
    from training.train.config import read_configuration, read_hardware
    from training.train.progress import ConsoleObserver

    console = Console(soft_wrap=True)
    with _reported_errors(), ConsoleObserver() as observer:
        settings = small_settings(seed) if small else full_settings(seed)
        if config is not None:
            settings = replace(settings, training=read_configuration(config, {"seed": seed}))
        hardware = read_hardware(
            accelerator=accelerator, precision=precision, threads=threads, compiled=compiled, side_by_side=side_by_side
        )
        last: dict[str, int] = {}

        def told(step: str, done: int, of: int) -> None:
            # one line a tenth: the epochs' own bar is on the screen
            tenth = 10 * done // max(of, 1)
            if last.get(step) != tenth:
                last[step] = tenth
                console.print(f"  {step}: {done} of {of}", highlight=False)

        Reproduction(
            output,
            settings,
            workers=workers,
            hardware=hardware,
            observer=observer,
            progress=told,
            say=lambda text: console.print(text, highlight=False),
        ).run()
    _say(output / "report")

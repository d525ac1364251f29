"""The commands ``pdl1es evaluate``, ``prognosis``, ``report``, ``controls``, ``retest`` and ``reproduce``."""

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

    from pdl1es.model.fusion import FusionModel
    from training.cohort.case import CaseSource, PreparationSettings
    from training.cohort.prepared import PreparedCohort
    from training.expression.results import EvaluationSettings
    from training.progress import Progress as Told
    from training.progression.results import PrognosisSettings
    from training.scoring.scored_cohort import ScoredCohort

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
Beside = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--beside",
        metavar="NAME=FOLDER",
        help="A further exported model to compare with, as DLM=FOLDER; may be repeated.",
    ),
]
Controls = Annotated[
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
Permutations = Annotated[
    int, typer.Option("--permutations", min=1, help="Behind each P that is corrected for the search of a cut-off.")
]
SmallestShare = Annotated[
    float, typer.Option("--smallest-share", min=0.0, max=0.49, help="Of patients on either side of a cut-off.")
]


def evaluate(
    prepared: Prepared,
    output: Output,
    run: Run = None,
    model: Model = None,
    beside: Beside = None,
    control: Controls = None,
    table: Images = None,
    tube_current_cut: TubeCurrentCut = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of resamples and folds.")] = 0,
) -> None:
    """Evaluate how well the score tells high PD-L1 expression: report.html, report.json and figures.

    Give either a training run or any exported model. Stopped and called again, it goes on with the scores that it left.
    Exit codes: 0 the report is written; 2 usage.
    """
    _report(
        "PD-L1ES: expression",
        prepared,
        output,
        run,
        model,
        beside=beside,
        control=control,
        table=table,
        expression=_expression(tube_current_cut, seed),
    )


def prognosis(
    prepared: Annotated[
        Path,
        typer.Argument(
            metavar="PREPARED",
            help="Folder that `cohort prepare` wrote; or a COHORT.csv whose patients have no images.",
            exists=True,
            show_default=False,
        ),
    ],
    output: Output,
    run: Run = None,
    model: Model = None,
    permutations: Permutations = 2000,
    smallest_share: SmallestShare = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of permutations and halves.")] = 0,
) -> None:
    """Analyse progression-free survival by the score: report, figures, and cut_offs.json for `export`.

    Give either a training run or any exported model. A COHORT.csv in the place of the folder has no score: its patients
    are analysed by measured PD-L1 and clinical variables, and no cut_offs.json is written. Exit codes: 0 the report is
    written; 2 usage.
    """
    settings = _progression(permutations, smallest_share, seed)
    if prepared.is_file():
        _report_of_table(prepared, output, run, model, settings)
    else:
        _report("PD-L1ES: progression", prepared, output, run, model, progression=settings)


def report(
    prepared: Prepared,
    output: Output,
    run: Run = None,
    model: Model = None,
    beside: Beside = None,
    control: Controls = None,
    table: Images = None,
    tube_current_cut: TubeCurrentCut = None,
    permutations: Permutations = 2000,
    smallest_share: SmallestShare = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of whatever is drawn.")] = 0,
) -> None:
    """Do `evaluate` and `prognosis` in one: a report of expression and progression, and cut_offs.json for `export`.

    A part that the cohort does not hold is named with the reason. Exit codes: 0 the report is written; 2 usage.
    """
    _report(
        "PD-L1ES: expression and progression",
        prepared,
        output,
        run,
        model,
        beside=beside,
        control=control,
        table=table,
        expression=_expression(tube_current_cut, seed),
        progression=_progression(permutations, smallest_share, seed),
    )


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
    from training.controls.disturbed import CONTROLS, prepare_control

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
    from training.reporting.content import DEMONSTRATION, ReportContent
    from training.reporting.folder import require_own_folder
    from training.reporting.provenance import provenance_of
    from training.reporting.report import write_report
    from training.scoring.scored_cohort import is_synthetic

    title = "PD-L1ES: test and retest"
    with _reported_errors():
        from pdl1es.model.fusion import FusionModel
        from training.cohort.prepared import PreparedCohort
        from training.controls.retest import retest_cohorts

        loaded = FusionModel.load(model, threads=1)
        one, two = PreparedCohort.load(first), PreparedCohort.load(second)
        provenance = provenance_of(one, f"{loaded.metadata.name} {loaded.metadata.version}", loaded.sha256)
        require_own_folder(output, title, provenance)
        with _bars() as told:
            found = retest_cohorts(one, two, loaded, progress=told)
        write_report(
            output,
            ReportContent(
                title=title,
                warning=DEMONSTRATION if is_synthetic(one) else None,
                provenance=provenance,
                evaluation=None,
                prognosis=None,
                retest=found,
            ),
        )
    _say(output)


def _expression(tube_current_cut: float | None, seed: int) -> EvaluationSettings:
    from training.expression.results import EvaluationSettings
    from training.statistics.strata import TUBE_CURRENT_CUT_MA

    return EvaluationSettings(tube_current_cut_ma=tube_current_cut or TUBE_CURRENT_CUT_MA, seed=seed)


def _progression(permutations: int, smallest_share: float, seed: int) -> PrognosisSettings:
    from training.progression.results import PrognosisSettings

    return PrognosisSettings(smallest_share, permutations, seed)


def _report(
    title: str,
    prepared: Path,
    output: Path,
    run: Path | None,
    model: Path | None,
    *,
    beside: list[str] | None = None,
    control: list[str] | None = None,
    table: Path | None = None,
    expression: EvaluationSettings | None = None,
    progression: PrognosisSettings | None = None,
) -> None:
    """Write the report of what has settings: expression, progression, or both."""
    from training.analysis.attention import attention_of
    from training.analysis.cohort_analysis import AnalysisOptions, analyse_cohort
    from training.analysis.finished_run import redivision_areas, run_digest, run_network
    from training.expression.results import EvaluationSettings
    from training.known_truth.gates import true_hazard_gates
    from training.progression.results import PrognosisSettings
    from training.reporting.analysis_report import figures_of, truth_of, write_analysis
    from training.reporting.cohort_figures import figure_5, flow_chart_of
    from training.statistics.estimability import NotEstimable

    wanted = {"expression": expression is not None, "progression": progression is not None}
    settings = (expression or EvaluationSettings(), progression or PrognosisSettings())
    with _reported_errors():
        from training.cohort.prepared import PreparedCohort

        cohort = PreparedCohort.load(prepared)
        controls = {name: PreparedCohort.load(folder) for name, folder in _pairs(control).items()}
        with _bars() as told:
            loaded, scored, provenance = _scored(title, cohort, output, run, model, _pairs(beside), controls, told)
            if loaded is None:
                options = AnalysisOptions(*settings, model=None if run is None else run_digest(run))
            else:
                options = AnalysisOptions.of_model(loaded, *settings)
            analysed = analyse_cohort(scored, options, told, progression=wanted["progression"])
            found = {"expression": analysed.evaluation, "progression": analysed.prognosis}
            reasons = {
                part: result.reason
                for part, result in found.items()
                if wanted[part] and isinstance(result, NotEstimable)
            }
            if reasons and len(reasons) == sum(wanted.values()):
                raise UsageError("; ".join(f"{part} cannot be analysed: {reason}" for part, reason in reasons.items()))
            drawn = {**(flow_chart_of(cohort, scored) if expression else {}), **figures_of(analysed, **wanted)}
            attention = None
            if expression is not None and run is not None:
                network = run_network(run)
                attention = attention_of(cohort, scored, network, progress=told)
                if table is not None:
                    drawn |= figure_5(scored, network, *_sources(table), attention, told)
            truth = truth_of(cohort) if wanted["progression"] else None
            write_analysis(
                output,
                title,
                cohort,
                analysed,
                drawn,
                provenance,
                expression=wanted["expression"],
                progression=wanted["progression"],
                redivisions=() if run is None or expression is None else redivision_areas(run),
                gates=(
                    *(analysed.gates if wanted["expression"] else ()),
                    *(() if truth is None else true_hazard_gates(scored, truth)),
                ),
                attention=attention,
                progress=told,
            )
    for part, reason in reasons.items():
        Console().print(f"[yellow]not in the report[/] {part}: {escape(reason)}", highlight=False, soft_wrap=True)
    _say(output)


def _report_of_table(
    table: Path, output: Path, run: Path | None, model: Path | None, settings: PrognosisSettings
) -> None:
    """Write the report of patients without images."""
    from training.cohort.table import read_cohort
    from training.progression.unscored import followed_table
    from training.reporting.folder import require_own_folder
    from training.reporting.provenance import table_provenance, versions
    from training.reporting.table_report import TITLE, write_table_analysis
    from training.statistics.estimability import NotEstimable, estimated

    with _reported_errors():
        if run is not None or model is not None:
            raise UsageError(
                f"{table.name} is a table, which no model can score: leave out --run and --model, or give the folder that "
                "`pdl1es cohort prepare` makes of it"
            )
        checked = read_cohort(table, without_outcome=True, without_images=True)
        if checked.faults:
            raise UsageError(
                f"the table has {len(checked.faults)} faults, the first: {checked.faults[0]} `pdl1es cohort check` tells all"
            )
        followed = estimated(followed_table, checked.rows)
        if isinstance(followed, NotEstimable):
            raise UsageError(followed.reason)
        provenance = table_provenance(table, checked, versions())
        require_own_folder(output, TITLE, provenance)
        with _bars() as told:
            write_table_analysis(output, table, followed, provenance, settings, told)
    _say(output)


def _scored(
    title: str,
    cohort: PreparedCohort,
    output: Path,
    run: Path | None,
    model: Path | None,
    beside: Mapping[str, Path],
    controls: Mapping[str, PreparedCohort],
    told: Told,
) -> tuple[FusionModel | None, ScoredCohort, dict[str, str]]:
    """Return the exported model (or None), the scored cohort and where it comes from."""
    from pdl1es.model.fusion import FusionModel
    from training.analysis.finished_run import require_trained_on, run_digest, run_predictions
    from training.reporting.folder import require_own_folder
    from training.reporting.provenance import provenance_of
    from training.scoring.cohort_scores import SCORES, score_models
    from training.scoring.predictions import SIGNATURE
    from training.scoring.scored_cohort import scored_cohort

    if (run is None) == (model is None):
        raise UsageError("give either --run or --model")
    kept = output / SCORES
    if run is not None:
        if beside:
            raise UsageError("--beside goes with --model; a run has its own comparators")
        require_trained_on(run, cohort)
        provenance = provenance_of(cohort, "a training run's PD-L1ES", run_digest(run))
        require_own_folder(output, title, provenance)
        return None, scored_cohort(cohort, run_predictions(run, controls, told, kept), tuple(controls)), provenance
    loaded = FusionModel.load(model or Path(), threads=1)
    provenance = provenance_of(cohort, f"{loaded.metadata.name} {loaded.metadata.version}", loaded.sha256)
    require_own_folder(output, title, provenance)
    scores = score_models(cohort, {SIGNATURE: loaded, **beside}, controls, told, kept)
    return loaded, scored_cohort(cohort, scores, tuple(controls)), provenance


def _sources(table: Path) -> tuple[dict[str, CaseSource], PreparationSettings]:
    """Return where the patients' images lie, and the settings of the chain."""
    from pdl1es.settings import load_settings, settings_file
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
    from pdl1es.errors import Refusal
    from pdl1es.settings import SettingsError
    from training.cohort.prepared import PreparedCohortError
    from training.cohort.synthesise import SynthesisError
    from training.cohort.table import CohortTableError
    from training.reporting.folder import ReportFolderError
    from training.scoring.predictions import PredictionsError
    from training.train.config import ConfigurationError
    from training.train.division import DivisionError
    from training.train.run_folder import TrainingError
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
        ReportFolderError,
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
            help="JSON with any fields of the training's configuration; default: as docs/method.md says of the model that ships. --seed wins.",
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

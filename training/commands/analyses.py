"""What the commands ``evaluate``, ``prognosis`` and ``report`` have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pdl1es.console import labelled, progress_bars, say
from training.commands.endings import told_errors

if TYPE_CHECKING:
    from pdl1es.model.fusion import FusionModel
    from training.cohort.prepared import PreparedCohort
    from training.expression.results import EvaluationSettings
    from training.progress import Progress
    from training.progression.results import PrognosisSettings
    from training.scoring.scored_cohort import ScoredCohort


@dataclass(frozen=True, slots=True)
class Inputs:
    """Arguments of such a command.

    Attributes
    ----------
    prepared, output
        Folders of the cohort and of the report.
    run, model
        Folder of a training run or of an exported model; exactly one of the two.
    beside, control
        Further models and disturbed cohorts, each as ``NAME=FOLDER``.
    table
        ``cohort.csv``, which is needed to draw Figure 5.
    baselines
        Whether the baselines are fitted, where expression is evaluated.
    nested
        Repetitions of nested cross-validation, where expression is evaluated; 0 for none.
    scanners_by
        What tells scanners apart.
    stability
        Features measured again that the run's selection was filtered by; nested cross-validation needs them too.
    """

    prepared: Path
    output: Path
    run: Path | None
    model: Path | None
    beside: Sequence[str] = ()
    control: Sequence[str] = ()
    table: Path | None = None
    baselines: bool = True
    nested: int = 0
    scanners_by: str = "manufacturer"
    stability: Path | None = None


def expression_settings(tube_current_cut: float | None, seed: int) -> EvaluationSettings:
    """Return the settings of an evaluation of expression.

    Parameters
    ----------
    tube_current_cut
        mA; the paper's where None.
    seed
        Of resamples and folds.

    Returns
    -------
    EvaluationSettings
    """
    from training.expression.results import EvaluationSettings
    from training.statistics.strata import TUBE_CURRENT_CUT_MA

    return EvaluationSettings(tube_current_cut_ma=tube_current_cut or TUBE_CURRENT_CUT_MA, seed=seed)


def progression_settings(permutations: int, smallest_share: float, seed: int) -> PrognosisSettings:
    """Return the settings of an analysis of progression.

    Parameters
    ----------
    permutations
        Permutations for each corrected P of a cut-off.
    smallest_share
        Smallest share of patients on either side of a cut-off.
    seed
        Of permutations and halves.

    Returns
    -------
    PrognosisSettings
    """
    from training.progression.results import PrognosisSettings

    return PrognosisSettings(smallest_share, permutations, seed)


def report_of(
    title: str,
    inputs: Inputs,
    *,
    expression: EvaluationSettings | None = None,
    progression: PrognosisSettings | None = None,
) -> None:
    """Write the report of the analyses that have settings: expression, progression, or both.

    Parameters
    ----------
    title
        Of the report.
    inputs
        What the command was given.
    expression, progression
        Settings; None for an analysis that is not wanted.

    Raises
    ------
    typer.Exit
        The inputs cannot be used; the reason is printed.
    """
    from training.analysis.attention import attention_of
    from training.analysis.cohort_analysis import AnalysisOptions, analyse_cohort
    from training.analysis.finished_run import nested_recipe, redivision_areas, run_digest, run_network
    from training.cohort.prepared import PreparedCohort
    from training.cohort.sources import case_sources, preparation_settings
    from training.errors import UsageError
    from training.expression.baselines import with_baselines
    from training.expression.results import Evaluation, EvaluationSettings
    from training.expression.scanners import with_scanner_differences
    from training.known_truth.gates import true_hazard_gates, truth_of
    from training.progression.results import PrognosisSettings
    from training.reporting.analysis_report import figures_of, write_analysis
    from training.reporting.cohort_figures import figure_5, flow_chart_of
    from training.statistics.estimability import NotEstimable, estimated
    from training.train.nested import LINEAR, nested_cross_validation

    run = inputs.run
    wanted = {"expression": expression is not None, "progression": progression is not None}
    settings = (expression or EvaluationSettings(), progression or PrognosisSettings())
    with told_errors():
        cohort = PreparedCohort.load(inputs.prepared).without_pretraining()
        with progress_bars() as told:
            loaded, scored, provenance = _scored(title, cohort, inputs, told)
            recipe = LINEAR if run is None or not inputs.nested else nested_recipe(run, cohort, inputs.stability)
            if expression is not None and inputs.baselines:
                scored = with_baselines(scored, cohort, seed=expression.seed, progress=told)
            if expression is not None:
                scored = with_scanner_differences(scored, cohort, inputs.scanners_by)
            if loaded is None:
                options = AnalysisOptions(*settings, model=None if run is None else run_digest(run))
            else:
                options = AnalysisOptions.of_model(loaded, *settings)
            analysed = analyse_cohort(scored, options, told, progression=wanted["progression"])
            if expression is not None and inputs.nested and isinstance(analysed.evaluation, Evaluation):
                nested = estimated(
                    nested_cross_validation, cohort, recipe, inputs.nested, seed=expression.seed, progress=told
                )
                analysed = replace(analysed, evaluation=replace(analysed.evaluation, nested=nested))
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
                if inputs.table is not None:
                    sources = case_sources(inputs.table)
                    drawn |= figure_5(scored, network, sources, preparation_settings(), attention, told)
            truth = truth_of(cohort) if wanted["progression"] else None
            write_analysis(
                inputs.output,
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
        labelled("not in the report", f"{part}: {reason}")
    say_where(inputs.output)


def say_where(output: Path) -> None:
    """Say where the report lies."""
    say(f"report: {output / 'report.html'}")


def _scored(
    title: str, cohort: PreparedCohort, inputs: Inputs, told: Progress
) -> tuple[FusionModel | None, ScoredCohort, dict[str, str]]:
    """Return the exported model (or None), the scored cohort and where it comes from."""
    from pdl1es.model.fusion import FusionModel
    from training.analysis.finished_run import require_trained_on, run_digest, run_predictions, run_provenance
    from training.cohort.prepared import PreparedCohort
    from training.errors import UsageError
    from training.reporting.folder import require_own_folder
    from training.reporting.provenance import provenance_of
    from training.scoring.cohort_scores import SCORES, score_models
    from training.scoring.predictions import SIGNATURE
    from training.scoring.scored_cohort import scored_cohort

    run, model = inputs.run, inputs.model
    beside = _pairs(inputs.beside)
    controls = {name: PreparedCohort.load(folder) for name, folder in _pairs(inputs.control).items()}
    if (run is None) == (model is None):
        raise UsageError("give either --run or --model")
    kept = inputs.output / SCORES
    if run is not None:
        if beside:
            raise UsageError("--beside goes with --model; a run has its own comparators")
        require_trained_on(run, cohort)
        provenance = provenance_of(cohort, "a training run's PD-L1ES", run_digest(run)) | run_provenance(run)
        require_own_folder(inputs.output, title, provenance)
        return None, scored_cohort(cohort, run_predictions(run, controls, told, kept), tuple(controls)), provenance
    loaded = FusionModel.load(model or Path(), threads=1)
    provenance = provenance_of(cohort, f"{loaded.metadata.name} {loaded.metadata.version}", loaded.sha256)
    require_own_folder(inputs.output, title, provenance)
    scores = score_models(cohort, {SIGNATURE: loaded, **beside}, controls, told, kept)
    return loaded, scored_cohort(cohort, scores, tuple(controls)), provenance


def _pairs(given: Sequence[str]) -> Mapping[str, Path]:
    """Return ``NAME=FOLDER`` by name."""
    from training.errors import UsageError

    pairs = {}
    for item in given:
        name, separator, folder = item.partition("=")
        if not (name and separator and Path(folder).is_dir()):
            raise UsageError(f"{item!r} is not NAME=FOLDER of a folder that exists")
        pairs[name] = Path(folder)
    return pairs

"""From folders to the report: what the commands `evaluate` and `prognosis` and the whole reproduction have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es import __version__
from pdl1es.errors import Refusal
from pdl1es.method import method_digest
from pdl1es.model.fusion import MODEL_FILE, CutOff, FusionModel
from training.cohort.case import CaseSource, PreparationSettings, read_case
from training.cohort.prepare import COHORT_NAMES
from training.cohort.prepared import SPLITS as ALL_SPLITS
from training.cohort.prepared import PreparedCohort
from training.cohort.volumes import VolumeError
from training.evaluation.attention import AttentionSummary, Portrait, attention_figure, grad_cam, portrait, summarise
from training.evaluation.cut_offs import CUT_OFFS_FILE, ModelCutOffs, model_cut_offs, model_digest, write_cut_offs
from training.evaluation.estimability import NotEstimable, estimated
from training.evaluation.evaluate import SPLITS, Evaluation, EvaluationSettings, evaluate
from training.evaluation.figure_set import (
    Drawn,
    evaluation_figures,
    flow_chart,
    prognosis_figures,
    render,
    write_figures,
)
from training.evaluation.gates import Gate, expression_gates, hazard_gate
from training.evaluation.predictions import SIGNATURE
from training.evaluation.prognosis import (
    FollowedCohort,
    ModelRisk,
    Prognosis,
    PrognosisSettings,
    analyse,
    followed_cohort,
)
from training.evaluation.report import DEMONSTRATION, ReportContent, write_report
from training.evaluation.report_folder import COHORT_DIGEST, MODEL, MODEL_DIGEST
from training.evaluation.retest import Retest
from training.evaluation.scored import Progress, ScoredCohort, is_synthetic, score_models
from training.evaluation.shortfall import Shortfall, shortfalls
from training.figures.flow_chart import FlowChart
from training.network import FusionNetwork
from training.statistics.cox import CoxModel, cox
from training.train.run import (
    NETWORKS,
    PREDICTIONS_FILE,
    REDIVISIONS,
    TrainingError,
    areas,
    cohort_digest,
    load_network,
    read_run,
)

FIGURES: Final = "figures"


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """What the analyses may be told.

    Attributes
    ----------
    evaluation, prognosis
        Settings of either.
    model
        `model_digest` of the file that scored, which ``cut_offs.json`` then names.
    cut_off, cut_off_source
        Of high expression, where it is given (an exported model's own).
    progression_cut_off
        Of the risk of progression, likewise.
    risk_cut_offs
        Of the exported Cox models by name (`clinical`, `fusion`), likewise.
    """

    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    prognosis: PrognosisSettings = field(default_factory=PrognosisSettings)
    model: str | None = None
    cut_off: float | None = None
    cut_off_source: str = "given"
    progression_cut_off: float | None = None
    risk_cut_offs: Mapping[str, CutOff] = field(default_factory=dict)

    @classmethod
    def of_model(
        cls,
        model: FusionModel,
        evaluation: EvaluationSettings | None = None,
        prognosis: PrognosisSettings | None = None,
    ) -> AnalysisOptions:
        """Return what tests an exported model's own cut-offs on other patients."""
        metadata = model.metadata
        own = {"clinical": metadata.clinical_cut_off, "fusion": metadata.fusion_cut_off}
        return cls(
            evaluation or EvaluationSettings(),
            prognosis or PrognosisSettings(),
            model=model.sha256,
            cut_off=metadata.expression_cut_off.value,
            cut_off_source="the exported model's own",
            progression_cut_off=metadata.progression_cut_off.value,
            risk_cut_offs={name: cut_off for name, cut_off in own.items() if cut_off is not None},
        )


@dataclass(frozen=True, slots=True)
class AnalysedCohort:
    """Both analyses, and what an exported model takes from them."""

    evaluation: Evaluation | NotEstimable
    prognosis: Prognosis | NotEstimable
    cut_offs: ModelCutOffs
    gates: tuple[Gate, ...]
    shortfalls: Mapping[str, Shortfall | NotEstimable] = field(default_factory=dict)


def analyse_cohort(
    scored: ScoredCohort,
    options: AnalysisOptions | None = None,
    progress: Progress | None = None,
    *,
    progression: bool = True,
) -> AnalysedCohort:
    """Evaluate expression and, where wanted, progression, each where the cohort holds it."""
    options = options or AnalysisOptions()
    evaluation = estimated(
        evaluate,
        scored.cases,
        scored.predictions,
        options.evaluation,
        cut_off=options.cut_off,
        cut_off_source=options.cut_off_source,
        controls=scored.controls,
    )
    followed: FollowedCohort | NotEstimable = NotEstimable("it was not asked for")
    if progression:
        risks = {
            name: ModelRisk(scored.risks[name], cut_off.value, cut_off.above, cut_off.below)
            for name, cut_off in options.risk_cut_offs.items()
            if name in scored.risks
        }
        followed = estimated(followed_cohort, scored.cases, scored.signature, scored.imputed, risks)
    prognosis = (
        followed
        if isinstance(followed, NotEstimable)
        else analyse(followed, options.prognosis, model_cut_off=options.progression_cut_off, progress=progress)
    )
    gates = () if isinstance(evaluation, NotEstimable) else expression_gates(evaluation)
    return AnalysedCohort(
        evaluation,
        prognosis,
        model_cut_offs(
            None if isinstance(evaluation, NotEstimable) else evaluation,
            None if isinstance(prognosis, NotEstimable) else prognosis,
            synthetic=scored.synthetic,
            model=options.model,
            gates=gates,
        ),
        gates,
        _shortfalls(scored),
    )


def _shortfalls(scored: ScoredCohort) -> dict[str, Shortfall | NotEstimable]:
    """Say where the area is lost of those whom the network remembers, and of those whom nothing was chosen on."""
    if scored.truth is None or scored.parts is None:
        return {}
    split = scored.cases["split"].to_numpy(dtype=object)
    return shortfalls(scored.parts, scored.truth, {SPLITS[name]: split == name for name in ("train", "test", "gate")})


def true_hazard_gates(scored: ScoredCohort, truth: Mapping[str, float]) -> tuple[Gate, ...]:
    """Return the claims that the hazard ratios which the cohort was drawn with lie inside their Cox intervals.

    Parameters
    ----------
    scored
        Of a synthetic cohort.
    truth
        ``truth.json``.
    """
    cases = scored.cases
    rows = (cases["split"] == "prognosis").to_numpy() & cases["pfs_days"].notna().to_numpy()
    if scored.true_logit is None or not rows.any():
        return ()
    standardised = (scored.true_logit[rows] - truth["bayes_logit_mean"]) / truth["bayes_logit_sd"]
    model = estimated(
        cox,
        cases["pfs_days"].to_numpy(dtype=np.float64)[rows],
        cases["progressed"].to_numpy(dtype=np.float64)[rows],
        {"bayes": standardised, "age": scored.imputed[rows, 0] / 10},
    )
    found = {name: model.term(name).hazard_ratio if isinstance(model, CoxModel) else model for name in ("bayes", "age")}
    return (
        hazard_gate(
            "one standard deviation of the Bayes logit", found["bayes"], truth["hazard_ratio_per_sd_of_bayes_logit"]
        ),
        hazard_gate("ten years of age", found["age"], truth["hazard_ratio_per_ten_years_of_age"]),
    )


def require_trained_on(run: Path, prepared: PreparedCohort) -> None:
    """Refuse a cohort that a run's scores are not of.

    Pseudonyms alone do not tell: two cohorts may number their patients alike.

    Raises
    ------
    TrainingError
        The folder holds no finished run, or one on another cohort.
    """
    record, _, _ = read_run(run)
    if record.cohort != cohort_digest(prepared):
        raise TrainingError(
            f"the run in {run} was trained on another cohort than this one, or on this one before it changed: give the "
            "cohort that it was trained on, or `pdl1es export` the run and give the exported file by --model"
        )


def run_predictions(
    run: Path,
    controls: Mapping[str, PreparedCohort] | None = None,
    progress: Progress | None = None,
    kept: Path | None = None,
) -> pd.DataFrame:
    """Return the predictions that a training run left, and PD-L1ES's of disturbed inputs; ``kept`` as `score_models`.

    Raises
    ------
    TrainingError
        The folder holds no finished run.
    """
    read_run(run)
    table = pd.read_parquet(run / PREDICTIONS_FILE)
    if not controls:
        return table
    signature = FusionModel.load(run / NETWORKS / SIGNATURE, threads=1)
    parts = [table]
    for name, control in controls.items():
        scores = score_models(control, {SIGNATURE: signature}, progress=progress, kept=kept)
        parts.append(scores.assign(model=name))
    return pd.concat(parts, ignore_index=True)


def run_digest(run: Path) -> str | None:
    """Return the `model_digest` of the file that a run scores by, or None where it did not train PD-L1ES."""
    folder = run / NETWORKS / SIGNATURE
    return model_digest(folder) if (folder / MODEL_FILE).is_file() else None


def truth_of(prepared: PreparedCohort) -> dict[str, float] | None:
    """Return ``truth.json`` of a synthetic cohort, or None where it is not beside it."""
    name = prepared.manifest.get("truth")
    if prepared.folder is None or not name or not (prepared.folder / str(name)).is_file():
        return None
    truth: dict[str, float] = json.loads((prepared.folder / str(name)).read_bytes())
    return truth


def redivision_areas(run: Path) -> tuple[dict[str, float], ...]:
    """Return PD-L1ES's area by cohort in each random re-division of a run; without those that were not trained."""
    found = []
    for path in sorted((run / REDIVISIONS).glob(f"*/{PREDICTIONS_FILE}")):
        table = pd.read_parquet(path)
        measured = areas(table[table["model"] == SIGNATURE])
        found.append({SPLITS[name]: float(area["value"]) for name, area in measured.items() if name in SPLITS})
    return tuple(found)


def run_network(run: Path) -> FusionNetwork:
    """Return a run's PD-L1ES network, for Grad-CAM.

    Raises
    ------
    TrainingError
        The folder holds no finished run.
    """
    record, fitted, _ = read_run(run)
    return load_network(run / NETWORKS / SIGNATURE, fitted, "PD-L1ES", record.config)


def attention_of(
    prepared: PreparedCohort,
    scored: ScoredCohort,
    network: FusionNetwork,
    most: int = 96,
    progress: Progress | None = None,
) -> AttentionSummary | NotEstimable:
    """Return where the network looks in patients that it was not fitted on, ``most`` at the most."""
    rows = _held_out(scored)[:most]
    if not rows.size:
        return NotEstimable("there are no patients that the network was not fitted on")
    found = []
    for row in rows:
        found.append(grad_cam(network, prepared.patches[row].astype(np.float32)))
        if progress is not None:
            progress("Grad-CAM", len(found), len(rows))
    return estimated(summarise, found, prepared.masks[rows])


def figure_5(
    scored: ScoredCohort,
    network: FusionNetwork,
    sources: Mapping[str, CaseSource],
    settings: PreparationSettings,
    summary: AttentionSummary | NotEstimable,
    progress: Progress | None = None,
) -> dict[str, Drawn]:
    """Draw Figure 5 of one patient high and one low in the score, each rightly so, that the network was not fitted on.

    Empty where there are no such patients, or their images cannot be read.
    """
    rows = _held_out(scored)
    label = scored.cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)
    choices = (("high", 1.0, 0.9), ("low", 0.0, 0.1))
    portraits: list[Portrait] = []
    for name, wanted, share in choices:
        if progress is not None:
            progress("maps of Figure 5", len(portraits), len(choices))
        known = [row for row in rows if label[row] == wanted and scored.cases["case_id"][row] in sources]
        if not known:
            return {}
        ranked = sorted(known, key=lambda row: (scored.signature[row], row))
        # not the most extreme one, which is the likeliest oddity
        row = ranked[round(share * (len(ranked) - 1))]
        try:
            volume = read_case(sources[scored.cases["case_id"][row]], settings).volume()
        except (Refusal, VolumeError, OSError):
            return {}
        portraits.append(portrait(f"{name} PD-L1ES ({scored.signature[row]:.2f})", volume, network))
    if progress is not None:
        progress("maps of Figure 5", len(portraits), len(choices))
    where = ""
    if isinstance(summary, AttentionSummary):
        where = (
            f" Over {summary.n} patients, {100 * summary.share['border']:.0f} % of the attention lies within 6 pixels of the "
            f"contour, which is {100 * summary.area['border']:.0f} % of the patch."
        )
    return {
        "figure-5": Drawn(
            "Figure 5: where the network looks",
            f"Patch with contour; Grad-CAM at {portraits[0].attention.block}, what raised the score; the two radiomic "
            f"features that the paper names, voxel by voxel in a 3 × 3 neighbourhood.{where}",
            attention_figure(portraits),
        )
    }


def flow_chart_of(prepared: PreparedCohort, scored: ScoredCohort) -> dict[str, Drawn]:
    """Draw the flow chart with the division that was trained on; empty where the manifest has no counts."""
    counts = prepared.manifest.get("flow_chart")
    if not counts:
        return {}
    split = scored.cases["split"]
    cohorts = [(COHORT_NAMES[name], int((split == name).sum())) for name in ALL_SPLITS if (split == name).any()]
    if split.isna().any():
        cohorts.append(("Not divided", int(split.isna().sum())))
    exclusions = tuple((str(reason), int(count)) for reason, count in counts["exclusions"])
    chart = estimated(FlowChart, int(counts["screened"]), exclusions, tuple(cohorts))
    return {} if isinstance(chart, NotEstimable) else flow_chart(chart)


def figures_of(analysed: AnalysedCohort, *, expression: bool = True, progression: bool = True) -> dict[str, Drawn]:
    """Draw every figure of the analyses that ran."""
    drawn: dict[str, Drawn] = {}
    if expression and isinstance(analysed.evaluation, Evaluation):
        drawn |= evaluation_figures(analysed.evaluation)
    if progression and isinstance(analysed.prognosis, Prognosis):
        drawn |= prognosis_figures(analysed.prognosis)
    return drawn


def write_analysis(
    folder: Path,
    title: str,
    prepared: PreparedCohort,
    analysed: AnalysedCohort,
    drawn: Mapping[str, Drawn],
    provenance: Mapping[str, str],
    *,
    expression: bool = True,
    progression: bool = True,
    redivisions: Sequence[Mapping[str, float]] = (),
    gates: Sequence[Gate] = (),
    retest: Retest | None = None,
    attention: AttentionSummary | NotEstimable | None = None,
    progress: Progress | None = None,
) -> None:
    """Write ``report.html``, ``report.json``, ``figures/`` and, where progression was analysed, ``cut_offs.json``."""
    rendered = render(drawn, None if progress is None else lambda done, of: progress("figures", done, of))
    write_figures(folder / FIGURES, rendered)
    evaluation = analysed.evaluation if expression and isinstance(analysed.evaluation, Evaluation) else None
    prognosis = analysed.prognosis if progression and isinstance(analysed.prognosis, Prognosis) else None
    notes = dict(provenance)
    for wanted, name, found in (
        (expression, "Expression", analysed.evaluation),
        (progression, "Progression", analysed.prognosis),
    ):
        if wanted and isinstance(found, NotEstimable):
            notes[name] = f"not evaluated: {found.reason}"
    write_report(
        folder,
        ReportContent(
            title=title,
            warning=DEMONSTRATION if is_synthetic(prepared) else None,
            provenance=notes,
            evaluation=evaluation,
            prognosis=prognosis,
            retest=retest,
            redivisions=redivisions,
            gates=gates,
            shortfalls=analysed.shortfalls if expression else {},
            attention=attention,
            figures=rendered,
        ),
    )
    if progression:
        write_cut_offs(folder / CUT_OFFS_FILE, analysed.cut_offs)


def provenance_of(prepared: PreparedCohort, model: str, digest: str | None = None) -> dict[str, str]:
    """Return what was evaluated and by what: no path, no patient."""
    manifest = prepared.manifest
    return {
        MODEL: model,
        **({MODEL_DIGEST: digest} if digest else {}),
        "Cohort": f"{len(prepared)} prepared patients, {len(prepared.failures)} that could not be prepared",
        COHORT_DIGEST: cohort_digest(prepared),
        "Cohort made from": ", ".join(str(source) for source in manifest.get("sources", ())) or "not told",
        "Seed of the synthetic cohort": str(manifest.get("seed", "none")),
        "Method": method_digest(),
        "Configuration of the preparation": str(manifest.get("config_digest", "not told")),
        **versions(),
    }


def versions() -> dict[str, str]:
    """Return this program's version and those of the libraries that its statistics come from."""
    return {"pdl1es": __version__, **{name: version(name) for name in ("numpy", "scipy", "lifelines", "statsmodels")}}


def _held_out(scored: ScoredCohort) -> NDArray[np.intp]:
    """Return rows of patients with a label and a score: test's where there are any, else validation's, else undivided ones."""
    label = scored.cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)
    usable = ~np.isnan(label) & ~np.isnan(scored.signature)
    split = scored.cases["split"].to_numpy(dtype=object)
    for name in ("test", "validation"):
        if (usable & (split == name)).any():
            return np.flatnonzero(usable & (split == name))
    return np.flatnonzero(usable & pd.isna(split))

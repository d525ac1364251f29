"""Expression and progression of one scored cohort, and what an exported model takes from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pdl1es.model.fusion import FusionModel
from pdl1es.model.metadata import CutOff
from training.expression.evaluate import evaluate
from training.expression.results import SPLITS, Evaluation, EvaluationSettings
from training.known_truth.expected import expected_areas
from training.known_truth.gates import Gate, expression_gates
from training.known_truth.shortfall import Shortfall, shortfalls
from training.progress import Progress
from training.progression.analyse import analyse
from training.progression.followed import FollowedCohort, ModelRisk, followed_cohort
from training.progression.results import Prognosis, PrognosisSettings
from training.release.cut_offs import ModelCutOffs, model_cut_offs
from training.scoring.scored_cohort import ScoredCohort
from training.statistics.estimability import NotEstimable, estimated


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """Options of the analyses.

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
        """Return the options that test an exported model's own cut-offs on other patients.

        Parameters
        ----------
        model
            The exported model.
        evaluation, prognosis
            Settings; the usual ones where None.

        Returns
        -------
        AnalysisOptions
        """
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
    """Evaluate expression and, where wanted, progression, each where the cohort holds it.

    Parameters
    ----------
    scored
        The cohort.
    options
        The usual ones where None.
    progress
        Called with the number of permutations done and in all.
    progression
        Whether progression is wanted; expression always is.

    Returns
    -------
    AnalysedCohort
        A part that the cohort does not hold is a `NotEstimable` with its reason.
    """
    options = options or AnalysisOptions()
    evaluation = estimated(
        evaluate,
        scored.cases,
        scored.predictions,
        options.evaluation,
        cut_off=options.cut_off,
        cut_off_source=options.cut_off_source,
        controls=scored.controls,
        cross_fitted=scored.cross_fitted,
        baselines=scored.baselines,
        clinical=scored.imputed,
    )
    if isinstance(evaluation, Evaluation):
        evaluation = replace(evaluation, scanners=scored.scanners)
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
    gates = () if isinstance(evaluation, NotEstimable) else expression_gates(evaluation, expected_areas(scored, "gate"))
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
    """Say where the area is lost: for the patients that the network was fitted on, and for those that nothing was chosen on."""
    if scored.truth is None or scored.parts is None:
        return {}
    split = scored.cases["split"].to_numpy(dtype=object)
    return shortfalls(scored.parts, scored.truth, {SPLITS[name]: split == name for name in ("train", "test", "gate")})

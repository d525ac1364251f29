"""Results of an evaluation of expression: cohorts, models and numbers by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pdl1es.model.metadata import Recipe
from training.scoring.scanner_differences import ScannerDifferences
from training.scoring.scored_cohort import BaselineFit
from training.statistics.added_value import AddedValue
from training.statistics.arrays import Estimate
from training.statistics.calibration import Calibration, Recalibration
from training.statistics.classification import Classification, YoudenCutOff
from training.statistics.decision_curves import DecisionCurves, NetBenefitDifference
from training.statistics.discrimination import Auc, AucComparison, RocCurve
from training.statistics.estimability import NotEstimable
from training.statistics.fairness import Fairness
from training.statistics.smooth_calibration import SmoothCalibration
from training.statistics.strata import SLICE_THICKNESS_CUT_MM, TUBE_CURRENT_CUT_MA, Stratification
from training.statistics.table_one import TableOne
from training.statistics.validation_sample_size import ValidationSize

TRAINING: Final = "Training"
VALIDATION: Final = "Validation"
TEST: Final = "Test"
POOLED: Final = "Pooled"
HELD_OUT: Final = "Validation and test"
GATE: Final = "Further test"
EXTERNAL: Final = "External"
SPLITS: Final = {"train": TRAINING, "validation": VALIDATION, "test": TEST, "gate": GATE}
"""Names of the splits in a prepared cohort, and of the cohorts in the report."""


@dataclass(frozen=True, slots=True)
class NestedCrossValidation:
    """A recipe, fitted anew in every outer fold, on all labelled patients of a development cohort.

    Attributes
    ----------
    recipe
        Of the training run, or None without one.
    with_network
        Whether a network that saw no label takes part; else radiomics and clinical variables alone.
    network_seconds
        What one training of the run's network on labels took; None where there was none.
    seeds
        Of each repetition's division.
    areas
        Of each repetition, whose folds are drawn by a seed of its own; every patient's score is by a model that was
        selected, tuned and fitted without them. An interval is of one repetition and ignores that the folds share patients.
    calibrations
        Likewise.
    mean, standard_deviation, lowest, highest
        Of the areas over the seeds: how much the division alone decides.
    selected
        Features that were selected in each outer fold.
    strengths
        Ridge strengths by part that were chosen in each outer fold.
    n, n_positive
        Patients.
    """

    recipe: Recipe | None
    with_network: bool
    network_seconds: float | None
    seeds: tuple[int, ...]
    areas: tuple[Auc, ...]
    calibrations: tuple[Calibration | NotEstimable, ...]
    mean: float
    standard_deviation: float
    lowest: float
    highest: float
    selected: tuple[int, ...]
    strengths: tuple[dict[str, float], ...]
    n: int
    n_positive: int


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes
    ----------
    tube_current_cut_ma
        None for the cohort's own median; the paper's was 290 mA.
    slice_thickness_cut_mm
        Slices of this thickness or more are thick.
    calibration_bins
        Groups of the calibration curve, at most; small cohorts get fewer.
    resamples
        Of the bootstrap behind the difference of two decision curves, and of the cut-off.
    model_resamples
        Of the bootstraps that fit a model each time: optimism, calibration curve.
    permutations
        Shuffles of the score alone.
    seed
        Seed of all random draws.
    """

    tube_current_cut_ma: float | None = TUBE_CURRENT_CUT_MA
    slice_thickness_cut_mm: float = SLICE_THICKNESS_CUT_MM
    calibration_bins: int = 10
    resamples: int = 1000
    model_resamples: int = 200
    permutations: int = 2000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ModelInCohort:
    """One model in one cohort.

    Attributes
    ----------
    n, unscored
        Patients with a label and a score, and with a label but no score.
    roc, auc, calibration
        Each may be not estimable.
    comparison
        PD-L1ES against this model on the patients that both scored; None for PD-L1ES itself.
    """

    n: int
    unscored: int
    roc: RocCurve | NotEstimable
    auc: Auc | NotEstimable
    calibration: Calibration | NotEstimable
    comparison: AucComparison | NotEstimable | None


@dataclass(frozen=True, slots=True)
class ScorePerformance:
    """PD-L1ES in one cohort.

    Attributes
    ----------
    brier
        With its interval.
    smooth
        ICI, E50 and E90.
    added
        What PD-L1ES adds to the clinical variables, either fitted on these patients.
    needed
        Patients that a validation needs for intervals as narrow as pmvalsampsize's defaults, if area, log-odds and
        performance at the cut-off are as here.
    n
        Patients that there are.
    """

    brier: Estimate | NotEstimable
    smooth: SmoothCalibration | NotEstimable
    added: AddedValue | NotEstimable
    needed: ValidationSize | NotEstimable
    n: int


@dataclass(frozen=True, slots=True)
class DevelopmentReach:
    """How many candidate parameters the training patients allow, by Riley's criteria.

    Attributes
    ----------
    n, n_positive
        Patients that the models were fitted on.
    area, cox_snell_r2
        Area on other patients, and the R2 that goes with it.
    parameters
        Candidates that an unpenalised regression may have on these patients.
    """

    n: int
    n_positive: int
    area: float
    cox_snell_r2: float
    parameters: int


@dataclass(frozen=True, slots=True)
class CohortEvaluation:
    """One cohort, or several pooled.

    Attributes
    ----------
    n, n_positive
        Patients with a label.
    fitted_here
        Whether the models were fitted on patients of this cohort; its numbers then show the fit, not the performance.
    models
        PD-L1ES first.
    classification
        PD-L1ES at the expression cut-off.
    decision
        Net benefit of PD-L1ES and the paper's comparators, on the patients that all of them scored.
    net_benefit
        PD-L1ES less each comparator, treating everybody and treating nobody, with pointwise bootstrap intervals.
    """

    n: int
    n_positive: int
    fitted_here: bool
    models: dict[str, ModelInCohort]
    classification: Classification | NotEstimable
    decision: DecisionCurves | NotEstimable
    net_benefit: dict[str, NetBenefitDifference | NotEstimable]


@dataclass(frozen=True, slots=True)
class RecalibrationResult:
    """Recalibration of the score to a cohort that it was not trained on.

    Attributes
    ----------
    in_the_large, slope
        The new logit is intercept + slope x the old one; the first has slope 1.
    brier
        Of the scores as they are.
    brier_in_the_large, brier_slope
        Cross-fitted in ten folds: each patient's score is recalibrated on other patients, so that a gain is a real one.
    """

    in_the_large: Recalibration | NotEstimable
    slope: Recalibration | NotEstimable
    brier: float
    brier_in_the_large: float | NotEstimable
    brier_slope: float | NotEstimable


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Change of the score by a control: mean over patients, standard deviation, Wilcoxon's P of no change."""

    n: int
    mean_change: float
    standard_deviation: float
    correlation: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The whole evaluation of expression.

    Attributes
    ----------
    operating_point
        Youden's, found on validation, or on out-of-fold scores of training and validation; not estimable where these
        cohorts are missing.
    operating_point_source
        Which of the two, in words.
    cut_off
        The cut-off that is used: the operating point, or the given one.
    cut_off_source
        In words.
    cohorts
        By name: each split, all of them pooled, and validation with test (no model was fitted on these).
    strata
        By cohort (pooled; held out): manufacturer, slice thickness, tube current; sex and age.
    characteristics
        Table 1.
    recalibration
        By cohort that nothing was fitted on.
    controls
        Change of PD-L1ES by control and cohort.
    performance
        By cohort that nothing was chosen on: intervals, added value, sample size.
    fairness
        By cohort that nothing was fitted on, and variable.
    operating_point_interval
        Of Youden's cut-off, by bootstrap.
    development
        What the training patients allow.
    settings
        As given.
    nested
        Repeated nested cross-validation; None where it was not asked for.
    baselines
        What was chosen for each baseline, or why there is none; empty where none was asked for.
    scanners
        How far features differ between scanners, before and after ComBat; None where it was not looked at.
    """

    operating_point: YoudenCutOff | NotEstimable
    operating_point_source: str
    cut_off: float | NotEstimable
    cut_off_source: str
    cohorts: dict[str, CohortEvaluation]
    strata: dict[str, dict[str, Stratification | NotEstimable]]
    characteristics: TableOne | NotEstimable
    recalibration: dict[str, RecalibrationResult | NotEstimable]
    controls: dict[str, dict[str, Disturbance | NotEstimable]]
    performance: dict[str, ScorePerformance]
    fairness: dict[str, dict[str, Fairness | NotEstimable]]
    operating_point_interval: Estimate | NotEstimable
    development: DevelopmentReach | NotEstimable
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    nested: NestedCrossValidation | NotEstimable | None = None
    baselines: Mapping[str, BaselineFit | NotEstimable] = field(default_factory=dict)
    scanners: ScannerDifferences | NotEstimable | None = None

"""Results of an analysis of progression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from training.progression.competing import CompetingRisks
from training.progression.performance import ProgressionPerformance
from training.statistics.arrays import Estimate
from training.statistics.concordance import Concordance, ConcordanceComparison
from training.statistics.cox import CoxCalibration
from training.statistics.cox_model import CoxModel
from training.statistics.estimability import NotEstimable
from training.statistics.hazards_check import ProportionalHazards
from training.statistics.prognosis import GroupComparison, RiskModel, SubgroupComparison
from training.statistics.restricted_mean import RestrictedMeanComparison
from training.statistics.survival import LogRank
from training.statistics.xtile import CutOffSearch, HeldOutCutOff

ALL: Final = "All"


@dataclass(frozen=True, slots=True)
class PrognosisSettings:
    """Settings of an analysis of progression.

    Attributes
    ----------
    smallest_share
        Of patients on either side of a cut-off.
    permutations
        Permutations for each corrected P of a cut-off.
    seed
        Seed of all random draws.
    horizons
        Days by which progression is told.
    resamples
        Of the bootstraps that correct for optimism and give intervals of net benefit.
    cut_off_resamples
        Of the bootstrap that gives intervals of cut-offs.
    """

    smallest_share: float = 0.1
    permutations: int = 2000
    seed: int = 0
    horizons: tuple[float, ...] = (180.0, 365.0)
    resamples: int = 200
    cut_off_resamples: int = 1000


@dataclass(frozen=True, slots=True)
class Grouping:
    """Patients above a cut-off against those at or below it: all of them, and within each treatment."""

    cut_off: float
    source: str
    groups: GroupComparison | NotEstimable
    by_treatment: SubgroupComparison | NotEstimable


@dataclass(frozen=True, slots=True)
class ClinicalGrouping:
    """Curves by one clinical variable: the log-rank test over its levels, and two groups for the figure.

    Attributes
    ----------
    n
        Patients of whom the variable was measured.
    upper, lower
        Names of the two groups.
    found
        How age was cut; empty for the others.
    levels
        Log-rank test over all levels; of age, over the two groups.
    groups
        Upper against lower.
    search
        How the cut-off was found, of age alone.
    """

    n: int
    upper: str
    lower: str
    found: str
    levels: LogRank | NotEstimable
    groups: GroupComparison | NotEstimable
    search: CutOffSearch | NotEstimable | None


@dataclass(frozen=True, slots=True)
class RiskModelResult:
    """A Cox model cut by X-tile, its groups within each treatment."""

    fit: RiskModel
    by_treatment: SubgroupComparison | NotEstimable

    @property
    def grouping(self) -> Grouping:
        """Its groups, as those of any other cut-off."""
        return Grouping(self.fit.search.cut_off, "X-tile on these patients", self.fit.groups, self.by_treatment)


@dataclass(frozen=True, slots=True)
class ExportedRisk:
    """An exported Cox model on patients that it was not fitted on; only the calibration slope is fitted here.

    Attributes
    ----------
    n, n_events, unknown
        Patients with a linear predictor, and without one.
    above, below
        The model's names of its groups, even where the other group does worse here.
    grouping
        At the model's own cut-off, all patients and within each treatment.
    concordance
        Of the linear predictor.
    calibration
        Calibration slope of the linear predictor: 1 where the model fits these patients.
    proportional_hazards
        Of the Cox model that the slope is of.
    """

    n: int
    n_events: int
    unknown: int
    above: str
    below: str
    grouping: Grouping
    concordance: Concordance | NotEstimable
    calibration: CoxCalibration | NotEstimable
    proportional_hazards: ProportionalHazards | NotEstimable


@dataclass(frozen=True, slots=True)
class Prognosis:
    """The whole analysis of progression; a result that the patients do not allow is a `NotEstimable`.

    Attributes
    ----------
    n, n_events, left_out
        Patients.
    follow_up
        Median, by the reverse Kaplan-Meier curve, days.
    search, held_out
        X-tile on all patients with the search's correction, and found on one half and tested on the other.
    cut_offs
        Each cut-off that was chosen on these patients with its bootstrap interval, as of `progression.cut_offs`.
    groupings
        PD-L1ES at X-tile's cut-off (``X-tile``), at the median (``median``), at the paper's 0.66 (``paper``), and at
        the model's own (``model``) where one was given.
    expression
        The same by measured PD-L1.
    continuous_concordance
        Of PD-L1ES as a number.
    univariable
        PD-L1ES as a number, per unit of score, and each clinical variable, alone.
    with_each, with_each_continuous
        PD-L1ES (groups by X-tile; as a number) with each clinical variable.
    multivariable
        PD-L1ES as a number with all four, or with those that were measured and differ.
    univariable_hazards, with_each_hazards, with_each_continuous_hazards, multivariable_hazards
        The check of proportional hazards of each of these models.
    clinical_variables
        Curves by each.
    clinical, fusion
        The clinical and the fusion Cox model.
    fusion_against_clinical, fusion_against_signature
        C-indices on the same patients; the models were fitted on them, so gain and P are optimistic for the fusion
        model.
    exported
        An exported model's Cox models by name (`clinical`, `fusion`), fitted on other patients.
    performance
        At fixed times, by models that were fitted without the patient; what the score adds; multiple imputation.
    restricted_means
        Of the groups in ``groupings``, by the same names.
    competing
        Progression and death before it apart, where the cohort gives the cause of every event.
    settings
        As given.
    """

    n: int
    n_events: int
    left_out: dict[str, int]
    follow_up: Estimate | NotEstimable
    search: CutOffSearch | NotEstimable
    held_out: HeldOutCutOff | NotEstimable
    cut_offs: dict[str, Estimate | NotEstimable]
    groupings: dict[str, Grouping]
    expression: Grouping | NotEstimable
    continuous_concordance: Concordance | NotEstimable
    univariable: dict[str, CoxModel | NotEstimable]
    univariable_hazards: dict[str, ProportionalHazards | NotEstimable]
    with_each: dict[str, CoxModel | NotEstimable]
    with_each_hazards: dict[str, ProportionalHazards | NotEstimable]
    with_each_continuous: dict[str, CoxModel | NotEstimable]
    with_each_continuous_hazards: dict[str, ProportionalHazards | NotEstimable]
    multivariable: CoxModel | NotEstimable
    multivariable_hazards: ProportionalHazards | NotEstimable
    clinical_variables: dict[str, ClinicalGrouping]
    clinical: RiskModelResult | NotEstimable
    fusion: RiskModelResult | NotEstimable
    fusion_against_clinical: ConcordanceComparison | NotEstimable
    fusion_against_signature: ConcordanceComparison | NotEstimable
    exported: dict[str, ExportedRisk]
    performance: ProgressionPerformance
    restricted_means: dict[str, RestrictedMeanComparison | NotEstimable]
    competing: CompetingRisks | NotEstimable
    settings: PrognosisSettings


def panels(
    whole: GroupComparison | NotEstimable, by_treatment: SubgroupComparison | NotEstimable
) -> dict[str, GroupComparison]:
    """Return the comparisons that can be drawn: all patients first, then each treatment that has both groups.

    A treatment that all of them had is left out: it would repeat the first.

    Parameters
    ----------
    whole
        All patients.
    by_treatment
        The same within each treatment.

    Returns
    -------
    dict[str, GroupComparison]
        By the panels' titles.
    """
    found: dict[str, GroupComparison] = {}
    if isinstance(whole, GroupComparison):
        found[ALL] = whole
    if isinstance(by_treatment, SubgroupComparison):
        drawn = {name: group for name, group in by_treatment.groups.items() if group is not None}
        everybody = _patients(found[ALL]) if ALL in found else None
        found |= {name: group for name, group in drawn.items() if _patients(group) != everybody}
    return found


def _patients(groups: GroupComparison) -> int:
    return groups.lower.n + groups.upper.n


def upper_is_worse(comparison: GroupComparison | NotEstimable | None) -> bool | None:
    """Return whether the upper group had more events than expected: the direction is the data's, never a constant."""
    if comparison is None or isinstance(comparison, NotEstimable) or isinstance(comparison.log_rank, NotEstimable):
        return None
    # groups sort as False, True
    return bool(comparison.log_rank.observed[1] > comparison.log_rank.expected[1])


def risk_names(worse_above: bool | None) -> tuple[str, str]:
    """Return the names of the group above and of the group at or below a cut-off."""
    names: Mapping[bool | None, tuple[str, str]] = {
        True: ("high risk", "low risk"),
        False: ("low risk", "high risk"),
        None: ("above the cut-off", "not above the cut-off"),
    }
    return names[worse_above]

"""The truth of the synthetic cohort: latent factors, label, progression-free survival, and the best possible score.

Three standard normal factors decide expression: one shows only in the border's pattern, one only in the inner texture,
and one is a sum of clinical variables. The label is drawn from the logistic of their weighted sum, so that the sum is
the Bayes score: no reader of image and clinical data ranks patients better. Where clinical values are missing, the
Bayes score is the expectation over what they may be. Progression-free survival is Weibull with proportional hazards in
the standardised Bayes logit and in age, so that both hazard ratios are known exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from training.statistics.discrimination import auc

Floats = NDArray[np.float64]
Population = Literal["expression", "immunotherapy"]

FACTORS: Final = ("border", "inner", "clinical")
MONTE_CARLO: Final = 200_000
"""Patients drawn for the intercept, the scale of the factors and the attainable AUCs: their errors are below 0.001."""


@dataclass(frozen=True, slots=True)
class Marginals:
    """Clinical variables of a population, without their missing values.

    Attributes
    ----------
    age_mean, age_sd
        Years; clipped to 22 and 89.
    male
        Share of men.
    smoking_female, smoking_male
        Shares of never, occasionally and constantly.
    family_history
        Share with cancer among relatives.
    smoking_missing, family_history_missing
        Shares that are not known.
    """

    age_mean: float
    age_sd: float
    male: float
    smoking_female: tuple[float, float, float]
    smoking_male: tuple[float, float, float]
    family_history: float
    smoking_missing: float
    family_history_missing: float


MARGINALS: Final[dict[Population, Marginals]] = {
    # Table 1: never 46.0, occasionally 39.8, constantly 10.1, unknown 4.0 %; family history no 81.4, yes 14.8, unknown
    # 3.8 %; male 61.3 %. The paper does not say how smoking differs between the sexes; these shares give its totals.
    "expression": Marginals(58.8, 10.7, 0.613, (0.820, 0.150, 0.030), (0.264, 0.582, 0.154), 0.154, 0.040, 0.038),
    # Male 81.9 %, smokers 77.7 %, age 60.7.
    "immunotherapy": Marginals(60.7, 11.1, 0.819, (0.650, 0.280, 0.070), (0.129, 0.680, 0.191), 0.154, 0.040, 0.038),
}


@dataclass(frozen=True, slots=True)
class TruthSettings:
    """How expression and survival depend on the factors.

    Attributes
    ----------
    shares
        Of border, inner and clinical in the logit's variance; they add up to one. Thirds: no part of the model is
        favoured, so that each comparator (DLM, RM, CM) has as much to find as the others.
    logit_sd
        Standard deviation of the logit: it sets the attainable AUC.
    prevalence
        Of TPS >= 50 % (paper: 328 of 939).
    clinical_effects
        Weights of age (per standard deviation), male sex, smoking (per grade) and family history in the clinical
        factor.
    hazard_ratio
        Of progression per standard deviation of the Bayes logit; above one, high expression progresses sooner (as in
        the paper).
    age_hazard_ratio
        Of progression per ten years of age, beside it.
    median_pfs_days
        Of a patient of mean logit and age.
    weibull_shape
        Of the time to progression.
    follow_up_days
        Shortest and longest follow-up, uniform; patients are censored at the end of the study alone.
    """

    shares: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    logit_sd: float = 1.40
    prevalence: float = 328 / 939
    clinical_effects: tuple[float, float, float, float] = (0.35, 0.55, 0.60, 0.70)
    hazard_ratio: float = 1.9
    age_hazard_ratio: float = 1.15
    median_pfs_days: float = 255.0
    weibull_shape: float = 1.2
    follow_up_days: tuple[float, float] = (200.0, 900.0)

    def __post_init__(self) -> None:
        """Refuse settings that make no model."""
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares must be at least zero and add up to one, got {self.shares}")
        if not 0 < self.prevalence < 1 or min(self.logit_sd, self.hazard_ratio, self.age_hazard_ratio) <= 0:
            raise ValueError("prevalence lies between zero and one; logit_sd and hazard ratios are above zero")


@dataclass(frozen=True, slots=True)
class TrueModel:
    """The model from which the cohort is drawn; made by `true_model`.

    Attributes
    ----------
    settings
        What was asked for.
    intercept
        Of the logit.
    weights
        Of the three standardised factors.
    clinical_mean, clinical_sd
        Of the unstandardised clinical sum among patients of the expression cohort.
    logit_mean, logit_sd
        Of the Bayes logit among them.
    attainable_auc
        By the factors that a score knows: ``"border+inner+clinical"`` is the Bayes AUC.
    """

    settings: TruthSettings
    intercept: float
    weights: tuple[float, float, float]
    clinical_mean: float
    clinical_sd: float
    logit_mean: float
    logit_sd: float
    attainable_auc: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """Return ``truth.json``."""
        return {
            "model": "logit P(high) = intercept + sum(weight x factor); hazard ~ hazard_ratio ^ ((logit - mean) / sd)"
            " x age_hazard_ratio ^ ((age - 60.7) / 10)",
            "settings": asdict(self.settings),
            "intercept": self.intercept,
            "weights": dict(zip(FACTORS, self.weights, strict=True)),
            "share_of_logit_variance": dict(zip(FACTORS, self.settings.shares, strict=True)),
            "bayes_auc": self.attainable_auc["border+inner+clinical"],
            "attainable_auc": dict(self.attainable_auc),
            "hazard_ratio_per_sd_of_bayes_logit": self.settings.hazard_ratio,
            "hazard_ratio_per_ten_years_of_age": self.settings.age_hazard_ratio,
            "bayes_logit_mean": self.logit_mean,
            "bayes_logit_sd": self.logit_sd,
        }


def draw_patients(rng: np.random.Generator, n: int, population: Population = "expression") -> pd.DataFrame:
    """Draw factors and clinical variables.

    Parameters
    ----------
    rng
        Source of randomness.
    n
        Patients.
    population
        Whose marginals.

    Returns
    -------
    DataFrame
        border, inner (standard normal); age, sex, smoking, family_history as they are; and the same four with the
        prefix ``known_``, NaN where they are missing, at random.
    """
    m = MARGINALS[population]
    sex = (rng.random(n) < m.male).astype(float)
    uniform = rng.random(n)
    thresholds = np.where(sex[:, None] == 1, np.cumsum(m.smoking_male)[:2], np.cumsum(m.smoking_female)[:2])
    smoking = (uniform[:, None] >= thresholds).sum(axis=1).astype(float)
    patients = pd.DataFrame(
        {
            "border": rng.standard_normal(n),
            "inner": rng.standard_normal(n),
            "age": np.clip(np.round(rng.normal(m.age_mean, m.age_sd, n)), 22, 89),
            "sex": sex,
            "smoking": smoking,
            "family_history": (rng.random(n) < m.family_history).astype(float),
        }
    )
    for name in ("age", "sex"):
        patients[f"known_{name}"] = patients[name]
    for name, share in (("smoking", m.smoking_missing), ("family_history", m.family_history_missing)):
        patients[f"known_{name}"] = patients[name].where(rng.random(n) >= share)
    return patients


@cache
def true_model(settings: TruthSettings) -> TrueModel:
    """Fix intercept, scales and attainable AUCs by a large drawn population (its own fixed seed)."""
    rng = np.random.default_rng(20210304)
    patients = draw_patients(rng, MONTE_CARLO)
    raw = _clinical_sum(settings, patients)
    mean, sd = float(raw.mean()), float(raw.std())
    weights = tuple(float(settings.logit_sd * np.sqrt(share)) for share in settings.shares)
    centred = _weighted((weights[0], weights[1], weights[2]), patients, (raw - mean) / sd)

    def excess(intercept: float) -> float:
        return float(expit(intercept + centred).mean() - settings.prevalence)

    intercept = float(brentq(excess, -20, 20))
    labels = (rng.random(MONTE_CARLO) < expit(intercept + centred)).astype(float)
    partial = TrueModel(settings, intercept, (weights[0], weights[1], weights[2]), mean, sd, 0.0, 1.0, {})
    bayes = bayes_logit(partial, patients)
    known = _expected_clinical(partial, patients)
    attainable = {
        "border": _auc(labels, patients["border"].to_numpy()),
        "inner": _auc(labels, patients["inner"].to_numpy()),
        "clinical": _auc(labels, known),
        "border+inner": _auc(labels, weights[0] * patients["border"] + weights[1] * patients["inner"]),
        "border+clinical": _auc(labels, weights[0] * patients["border"] + weights[2] * known),
        "inner+clinical": _auc(labels, weights[1] * patients["inner"] + weights[2] * known),
        "border+inner+clinical": _auc(labels, bayes),
    }
    return TrueModel(
        settings, intercept, partial.weights, mean, sd, float(bayes.mean()), float(bayes.std()), attainable
    )


def bayes_logit(model: TrueModel, patients: pd.DataFrame) -> Floats:
    """Return the logit of the best probability that factors and known clinical variables allow, shape (n,).

    Where smoking or family history is missing, it is the expectation of the probability over their distribution given
    the sex: they are missing at random. The distribution is that of the expression cohort.

    Parameters
    ----------
    model
        The truth.
    patients
        Their factors, and what is known of them.

    Returns
    -------
    Floats
        Natural logarithm of the odds.
    """
    probability = np.zeros(len(patients))
    for weight, clinical in _completions(model, patients):
        probability += weight * expit(model.intercept + _weighted(model.weights, patients, clinical))
    return logit(probability)


def draw_labels(rng: np.random.Generator, model: TrueModel, patients: pd.DataFrame) -> pd.DataFrame:
    """Draw expression: columns label (0, 1), pdl1_tps (whole %), bayes_logit and the standardised clinical factor.

    Parameters
    ----------
    rng
        Of the draw.
    model
        The truth.
    patients
        As of `draw_patients`.

    Returns
    -------
    pd.DataFrame
        One row per patient.
    """
    clinical = (_clinical_sum(model.settings, patients) - model.clinical_mean) / model.clinical_sd
    high = rng.random(len(patients)) < expit(model.intercept + _weighted(model.weights, patients, clinical))
    # TPS piles up at zero; only its side of 50 % carries information.
    low_tps = np.where(rng.random(len(patients)) < 0.5, 0, np.floor(49 * rng.random(len(patients)) ** 2) + 1)
    high_tps = np.floor(50 + 51 * rng.random(len(patients)))
    return pd.DataFrame(
        {
            "label": high.astype(int),
            "pdl1_tps": np.where(high, high_tps, low_tps).astype(int),
            "clinical": clinical,
            "bayes_logit": bayes_logit(model, patients),
        }
    )


def draw_survival(rng: np.random.Generator, model: TrueModel, bayes: Floats, age: Floats) -> pd.DataFrame:
    """Draw progression-free survival: columns pfs_days, progressed, log_hazard and uncensored_days.

    Parameters
    ----------
    rng
        Source of randomness.
    model
        The truth.
    bayes
        Bayes logits, shape (n,).
    age
        Years, shape (n,).

    Returns
    -------
    pd.DataFrame
        One row per patient; times in days.

    Notes
    -----
    Weibull by inversion (Bender, Augustin, Blettner, Statistics in Medicine 2005): T = (-ln U / (l exp(b
    x)))^(1/shape).
    """
    s = model.settings
    log_hazard = np.log(s.hazard_ratio) * (bayes - model.logit_mean) / model.logit_sd
    log_hazard = log_hazard + np.log(s.age_hazard_ratio) * (age - MARGINALS["immunotherapy"].age_mean) / 10
    rate = np.log(2) / s.median_pfs_days**s.weibull_shape
    event = (-np.log1p(-rng.random(len(bayes))) / (rate * np.exp(log_hazard))) ** (1 / s.weibull_shape)
    end = rng.uniform(*s.follow_up_days, len(bayes))
    return pd.DataFrame(
        {
            "pfs_days": np.ceil(np.minimum(event, end)).astype(int),
            "progressed": (event <= end).astype(int),
            "log_hazard": log_hazard,
            "uncensored_days": event,
        }
    )


def _clinical_sum(s: TruthSettings, patients: pd.DataFrame) -> Floats:
    age, sex, smoking, family = (patients[name].to_numpy() for name in _CLINICAL)
    return _sum(s, age, sex, smoking, family)


_CLINICAL: Final = ("age", "sex", "smoking", "family_history")


def _sum(s: TruthSettings, age: Floats, sex: Floats, smoking: Floats, family: Floats) -> Floats:
    m, (by_age, by_sex, by_smoking, by_family) = MARGINALS["expression"], s.clinical_effects
    return by_age * (age - m.age_mean) / m.age_sd + by_sex * sex + by_smoking * smoking + by_family * family


def _weighted(weights: tuple[float, float, float], patients: pd.DataFrame, clinical: Floats) -> Floats:
    border, inner = patients["border"].to_numpy(), patients["inner"].to_numpy()
    return weights[0] * border + weights[1] * inner + weights[2] * clinical


def _completions(model: TrueModel, patients: pd.DataFrame) -> list[tuple[Floats, Floats]]:
    """Return every way to fill in smoking and family history: its weight and the clinical factor, each shape (n,)."""
    m = MARGINALS["expression"]
    age, sex, smoking, family = (patients[f"known_{name}"].to_numpy() for name in _CLINICAL)
    shares = np.where(sex[:, None] == 1, m.smoking_male, m.smoking_female)
    ways = []
    for grade in range(3):
        by_grade = np.where(np.isnan(smoking), shares[:, grade], smoking == grade)
        for history, share in ((0.0, 1 - m.family_history), (1.0, m.family_history)):
            by_history = np.where(np.isnan(family), share, family == history)
            raw = _sum(model.settings, age, sex, np.full(len(age), float(grade)), np.full(len(age), history))
            ways.append((by_grade * by_history, (raw - model.clinical_mean) / model.clinical_sd))
    return ways


def _expected_clinical(model: TrueModel, patients: pd.DataFrame) -> Floats:
    return np.sum([weight * clinical for weight, clinical in _completions(model, patients)], axis=0)


def _auc(labels: Floats, scores: Any) -> float:
    return auc(labels, np.asarray(scores, dtype=np.float64)).value

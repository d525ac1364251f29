"""X-tile: the cut-off of a score that splits survival best, with its P corrected for the search (paper: 0.66)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from training.progress import Count
from training.statistics.arrays import Estimate, Test, finite_vector, follow_up
from training.statistics.cox import cox
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.hazards_check import ProportionalHazards, hazards_of
from training.statistics.log_rank_splits import (
    LogRankSplits,
    allowed_splits,
    best_split,
    between_scores,
    fewest_in_a_group,
)
from training.statistics.survival import log_rank


@dataclass(frozen=True, slots=True)
class CutOffSearch:
    """The best split of a score into two groups.

    Attributes
    ----------
    cut_off
        Halfway between two neighbouring scores; a score above it belongs to the upper group.
    upper_is_worse
        Whether the upper group had more events than expected.
    n_lower, n_upper
        Patients.
    n_events
        Of all of them.
    statistic
        The largest log-rank chi-square of all splits.
    p_uncorrected
        Of that chi-square as if no search had been made: too small, given for comparison with papers only.
    p_permutation
        Share of shuffled scores whose own best split was as good. This is the P to report.
    refitted
        Whether the score was fitted on these patients, and anew on each shuffle: then the P is corrected for the fit
        too. The two approximations below never are.
    standardised
        The largest absolute log-rank score statistic, standardised by its variance under shuffling; the next two are of
        it. Where hazards are far from proportional it can be much smaller than the root of the chi-square.
    p_miller_siegmund
        Approximation for many cut-offs, conservative for few.
    p_lausen
        Improved Bonferroni bound that knows where the cut-offs lie.
    n_permutations
        Shuffles; the smallest P they can show is 1 / (n + 1).
    smallest_share
        Of patients in either group.
    cut_offs, statistics
        float64, shape (C,): every split tried and its chi-square.
    """

    cut_off: float
    upper_is_worse: bool
    n_lower: int
    n_upper: int
    n_events: int
    statistic: float
    p_uncorrected: float
    p_permutation: float
    refitted: bool
    standardised: float
    p_miller_siegmund: float
    p_lausen: float
    n_permutations: int
    smallest_share: float
    cut_offs: NDArray[np.float64]
    statistics: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldOutCutOff:
    """A cut-off found on one half and tested on the other.

    Attributes
    ----------
    search
        On the first half.
    first_half
        bool, shape (N,): the patients of the search.
    test
        Log-rank on the other half, which took no part: its P needs no correction. Not estimable where the cut-off puts
        all its patients on one side, or none of them had an event.
    hazard_ratio
        Of the upper group in the other half; not estimable where it is not finite.
    proportional_hazards
        Of that model; not estimable where there is none, or where events at too few times compare the groups.
    n_lower, n_upper, n_events
        Patients of the other half, and how many of them had an event.
    """

    search: CutOffSearch
    first_half: NDArray[np.bool_]
    test: Test | NotEstimable
    hazard_ratio: Estimate | NotEstimable
    proportional_hazards: ProportionalHazards | NotEstimable
    n_lower: int
    n_upper: int
    n_events: int


def search_cut_off(
    time: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    *,
    smallest_share: float = 0.1,
    n_permutations: int = 2000,
    seed: int = 0,
    progress: Count | None = None,
    refit: Callable[[NDArray[np.int64]], NDArray[np.float64]] | None = None,
) -> CutOffSearch:
    """Return the split of a score with the largest log-rank chi-square, and its P corrected for the search.

    Parameters
    ----------
    time, event, score
        Shape (N,).
    smallest_share
        Each group holds at least this share of the patients.
    n_permutations
        Shuffles of the scores against follow-up.
    seed
        Of the shuffles.
    progress
        Called with shuffles done and shuffles in all.
    refit
        Of a score that was fitted on these patients: what the fit gives when patient i has the covariates of patient
        ``shuffle[i]``. Without it the shuffles take the score as it is.

    Returns
    -------
    CutOffSearch

    Raises
    ------
    ValueError
        NaN, columns of different length, no event, or no split that leaves both groups large enough.

    Notes
    -----
    The search is X-tile's for two groups (Camp, Dolled-Filhart and Rimm, Clin Cancer Res 2004; 10: 7252-7259). Its P is
    corrected in three ways: by permutation, which holds for any number of ties and patients as long as censoring does
    not depend on the score; by Miller and Siegmund (Biometrics 1982; 38: 1011-1016), with Lausen and Schumacher's
    extension to log-rank scores (Biometrics 1992; 48: 73-85); and by Lausen, Sauerbrei and Schumacher (in Dirschedl and
    Ostermann, Computational Statistics, 1994). R's maxstat gives the same numbers where no two patients have the same
    time; where some do, its scores depend on how many, while these are Peto's.
    """
    times, events = follow_up(time, event)
    values = finite_vector(score, "score", times.size)
    if not 0 <= smallest_share < 0.5:
        raise ValueError(f"smallest_share must lie from 0 to below 0.5, got {smallest_share}")
    if n_permutations < 1:
        raise ValueError(f"at least one permutation is needed, got {n_permutations}")
    if not events.any():
        raise ValueError("a cut-off needs an event, and nobody had one")
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    fewest = fewest_in_a_group(smallest_share, times.size)
    below = allowed_splits(ranked, fewest)
    if below.size == 0:
        raise ValueError(f"no cut-off of the score leaves {fewest} patients or more on both sides")
    splits = LogRankSplits(times, events)
    observed, statistics = splits.chi_squares(order, below)
    best = best_split(statistics)
    k, largest = int(below[best]), float(statistics[best])
    standardised = float(splits.standardised(order, below).max())
    generator = np.random.default_rng(seed)
    as_good = 0
    for done in range(n_permutations):
        shuffle = generator.permutation(times.size)
        there = below
        if refit is not None:
            fitted = refit(shuffle)
            shuffle = np.argsort(fitted, kind="stable")
            there = allowed_splits(fitted[shuffle], fewest)
        as_good += bool((splits.chi_squares(shuffle, there)[1] >= largest - 1e-9).any())
        if progress is not None:
            progress(done + 1, n_permutations)
    cut_offs = between_scores(ranked[below - 1], ranked[below])
    return CutOffSearch(
        cut_off=float(cut_offs[best]),
        upper_is_worse=bool(observed[best] < 0),
        n_lower=k,
        n_upper=times.size - k,
        n_events=int(events.sum()),
        statistic=largest,
        p_uncorrected=float(chi2.sf(largest, 1)),
        p_permutation=float((as_good + 1) / (n_permutations + 1)),
        refitted=refit is not None,
        standardised=standardised,
        p_miller_siegmund=miller_siegmund_p(standardised, below[0] / times.size, below[-1] / times.size),
        p_lausen=lausen_p(standardised, times.size, below),
        n_permutations=n_permutations,
        smallest_share=smallest_share,
        cut_offs=cut_offs,
        statistics=statistics,
    )


def held_out_cut_off(
    time: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    *,
    smallest_share: float = 0.1,
    n_permutations: int = 2000,
    seed: int = 0,
) -> HeldOutCutOff:
    """Find the cut-off on one half of the patients and test it on the other, as X-tile does.

    Parameters
    ----------
    time, event, score
        Shape (N,).
    smallest_share, n_permutations, seed
        As of `search_cut_off`, on the first half.

    Returns
    -------
    HeldOutCutOff

    Raises
    ------
    ValueError
        As `search_cut_off`, on the first half.

    Notes
    -----
    Patients are ranked by follow-up, those with event and those censored apart, and of each two neighbours chance sends
    one to either half, so that both halves have the same follow-up and the same number of events.
    """
    times, events = follow_up(time, event)
    values = finite_vector(score, "score", times.size)
    first = _half(times, events, np.random.default_rng(seed))
    search = search_cut_off(
        times[first],
        events[first],
        values[first],
        smallest_share=smallest_share,
        n_permutations=n_permutations,
        seed=seed,
    )
    rest = ~first
    upper = values[rest] > search.cut_off
    covariates = {"upper": upper.astype(np.float64)}
    test = estimated(log_rank, times[rest], events[rest], upper)
    model = estimated(cox, times[rest], events[rest], covariates)
    return HeldOutCutOff(
        search=search,
        first_half=first,
        test=test if isinstance(test, NotEstimable) else test.test,
        hazard_ratio=model if isinstance(model, NotEstimable) else model.terms[0].hazard_ratio,
        proportional_hazards=hazards_of(times[rest], events[rest], covariates, model),
        n_lower=int((~upper).sum()),
        n_upper=int(upper.sum()),
        n_events=int(events[rest].sum()),
    )


def miller_siegmund_p(largest: float, lowest_share: float, highest_share: float) -> float:
    """Return the P of the largest standardised statistic over cut-offs from one share of the patients to another.

    Miller and Siegmund 1982, Lausen and Schumacher 1992; an upper-tail approximation, so 1 for a statistic below 1.

    Parameters
    ----------
    largest
        Standardised statistic of all cut-offs.
    lowest_share, highest_share
        Of the patients at or below the first and the last cut-off.

    Returns
    -------
    float
        0 to 1.
    """
    if largest < 1:
        return 1.0
    density = float(norm.pdf(largest))
    odds = highest_share * (1 - lowest_share) / ((1 - highest_share) * lowest_share)
    return min(1.0, max(0.0, 4 * density / largest + density * (largest - 1 / largest) * math.log(odds)))


def lausen_p(largest: float, n: int, below: ArrayLike) -> float:
    """Return the improved Bonferroni bound of the largest standardised statistic (Lausen, Sauerbrei, Schumacher 1994).

    Parameters
    ----------
    largest
        Of the absolute standardised statistics.
    n
        Patients.
    below
        Rising: patients at or below each cut-off.

    Returns
    -------
    float
        0 to 1.
    """
    counts = np.asarray(below, dtype=np.float64)
    smaller, larger = counts[:-1], counts[1:]
    t = np.sqrt(1 - smaller * (n - larger) / ((n - smaller) * larger))
    steps = float((math.exp(-(largest**2) / 2) / math.pi * (t - (largest**2 / 4 - 1) * t**3 / 6)).sum())
    return min(1.0, 2 * float(norm.sf(largest)) + steps)


def _half(times: NDArray[np.float64], events: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.bool_]:
    first = np.zeros(times.size, dtype=bool)
    for group in (events, ~events):
        ranked = np.flatnonzero(group)[np.argsort(times[group], kind="stable")]
        coin = generator.integers(0, 2, size=(ranked.size + 1) // 2)
        # one of each pair at random; a patient left over at random too
        first[ranked] = np.arange(ranked.size) % 2 == np.repeat(coin, 2)[: ranked.size]
    return first

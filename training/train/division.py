"""Divides patients into training, validation and test: by the table, or drawn 8:1:1 within each class (paper, Methods)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.cohort.identity import AlikePair, alike_pairs, in_words
from training.cohort.scan import same_scan_pairs, scans_in_words
from training.errors import UsageError
from training.train.config import TrainingConfig

TRAIN, VALIDATION, TEST = "train", "validation", "test"
DIVIDED: Final = (TRAIN, VALIDATION, TEST)

Division = NDArray[np.object_]
"""The split of each patient, shape (n,); None for patients that take no part."""


class DivisionError(UsageError):
    """The patients cannot be divided; the message says why."""


def divide(cases: pd.DataFrame, seed: int) -> Division:
    """Say which split every patient belongs to.

    Parameters
    ----------
    cases
        The prepared cohort's: case_id, split, label, content_digest.
    seed
        Of the draw.

    Returns
    -------
    Division
        Where the table names a split for training, validation or test, the table's: labelled patients without one take
        no part. Else patients with a label and no split are drawn, within each class 8:1:1 rounded down with the rest
        for test, whatever the order of the rows: of the paper's 328 and 611 patients 750, 93 and 96. Other splits
        (prognosis, gate) stay as they are.

    Raises
    ------
    DivisionError
        A split lacks a class, or the same images belong to two patients of different splits.
    """
    given = cases["split"].to_numpy(dtype=object)
    given = np.array([None if pd.isna(name) else str(name) for name in given], dtype=object)
    labels = cases["label"].to_numpy(np.float64)
    division = given.copy()
    if not np.isin(given[given != None], DIVIDED).any():  # noqa: E711 - element by element
        free = np.flatnonzero((given == None) & ~np.isnan(labels))  # noqa: E711
        identifiers = cases["case_id"].to_numpy(dtype=object)
        rng = np.random.default_rng([seed, 1])
        for label in (0.0, 1.0):
            members = sorted(free[labels[free] == label], key=lambda row: str(identifiers[row]))
            for row, name in zip(rng.permutation(members), _names(len(members)), strict=True):
                division[row] = name
    else:
        division[np.isin(given, DIVIDED) & np.isnan(labels)] = None
    _check(division, labels, cases["content_digest"])
    return division


def check_images(
    patches: NDArray[np.int16],
    case_ids: Sequence[str],
    divisions: Iterable[Division],
    *,
    scans: Sequence[Sequence[str] | None] = (),
) -> tuple[AlikePair, ...]:
    """Refuse divisions in which the same images stand in two places; return the pairs that are only alike.

    Parameters
    ----------
    patches
        The prepared cohort's, shape (n, 3, 112, 112).
    case_ids
        The pseudonyms, in the same order.
    divisions
        Where each patient is, as `divide` or `kept_apart` gives it: two patients of one place may be the same.
    scans
        `PreparedCohort.scans`, in the same order; without them CT with another contour are not compared.

    Returns
    -------
    tuple[AlikePair, ...]
        Pairs of two places, in any of the divisions, that are alike but not the same: a reader has to judge them.

    Raises
    ------
    DivisionError
        Two cases of different places have the same images, in whatever files and under whatever names, or the same CT
        with another contour.
    """
    places = np.array(list(divisions), dtype=object)
    taken = np.flatnonzero((~pd.isna(places)).any(axis=0))
    pairs = [
        replace(pair, first=int(taken[pair.first]), second=int(taken[pair.second]))
        for pair in alike_pairs(patches[taken])
    ]
    crossing = [pair for pair in pairs if _apart(places[:, pair.first], places[:, pair.second])]
    same = [pair for pair in crossing if pair.same]
    if same:
        raise DivisionError(
            f"the same images stand in two splits or folds under two case_ids, {len(same)} times: "
            f"{in_words(same, case_ids)}; a patient may be in one only: keep one case_id of each pair"
        )
    one_ct = [pair for pair in same_scan_pairs(scans) if _apart(places[:, pair[0]], places[:, pair[1]])]
    if one_ct:
        raise DivisionError(
            f"the same CT with another contour stands in two splits or folds under two case_ids, {len(one_ct)} times: "
            f"{scans_in_words(one_ct, case_ids)}; a patient may be in one only: keep one case_id of each pair"
        )
    return tuple(pair for pair in crossing if not pair.same)


def kept_apart(division: Division, config: TrainingConfig) -> Division:
    """Say who must not be the same patient: `check_images` refuses the same images in two places of it.

    Parameters
    ----------
    division
        As `divide` gives it.
    config
        By the recipe ``label-free`` the patients who are fitted on are judged by out-of-fold scores. One patient in two
        folds would flatter these, so that each of them has a place of their own.

    Returns
    -------
    Division
        Shape (n,): the split, or the row of a patient who is scored out of fold.
    """
    if config.recipe != "label-free":
        return division
    places = division.copy()
    rows = np.flatnonzero(fitted_on(division, config))
    places[rows] = rows
    return places


def fitted_on(division: Division, config: TrainingConfig) -> NDArray[np.bool_]:
    """Tell whose data are fitted on.

    Parameters
    ----------
    division
        As `divide` gives it.
    config
        The recipe ``label-free`` chooses no epoch, so that validation patients join the training patients.

    Returns
    -------
    NDArray[np.bool_]
        Shape (n,).
    """
    joined = (TRAIN, VALIDATION) if config.recipe == "label-free" else (TRAIN,)
    return np.asarray(np.isin(division.astype(str), joined))


def redivide(cases: pd.DataFrame, division: Division, seed: int, number: int) -> Division:
    """Draw validation and test anew from both together, as large as before within each class (paper, Results).

    Parameters
    ----------
    cases
        The prepared cohort's.
    division
        As `divide` gives it.
    seed, number
        Of the draw: the first re-division is number 1.

    Returns
    -------
    Division
    """
    labels = cases["label"].to_numpy(np.float64)
    identifiers = cases["case_id"].to_numpy(dtype=object)
    again = division.copy()
    rng = np.random.default_rng([seed, 2, number])
    for label in (0.0, 1.0):
        pool = np.flatnonzero(np.isin(division, (VALIDATION, TEST)) & (labels == label))
        members = rng.permutation(sorted(pool, key=lambda row: str(identifiers[row])))
        n_validation = int((division[pool] == VALIDATION).sum())
        again[members[:n_validation]] = VALIDATION
        again[members[n_validation:]] = TEST
    return again


def _apart(first: NDArray[np.object_], second: NDArray[np.object_]) -> bool:
    """Tell whether two patients have different places in any division that both take part in."""
    both = ~pd.isna(first) & ~pd.isna(second)
    return bool((first[both] != second[both]).any())


def _names(count: int) -> list[str]:
    """Return the splits of a class of ``count`` patients; at least one patient validates."""
    # in whole numbers: 0.8 * 35 must not be 27.999
    n_train = count * 8 // 10
    n_validation = max(count // 10, 1) if count else 0
    n_train = min(n_train, max(count - n_validation - 1, 0))
    return [TRAIN] * n_train + [VALIDATION] * n_validation + [TEST] * (count - n_train - n_validation)


def _check(division: Division, labels: NDArray[np.float64], digests: Sequence[object]) -> None:
    for name in (TRAIN, VALIDATION):
        found = Counter(labels[division == name])
        if len(found) < 2:
            counts = ", ".join(f"{found.get(label, 0)} with label {label:.0f}" for label in (0.0, 1.0))
            raise DivisionError(f"{name} needs patients of both classes, it has {counts}")
    seen: dict[object, str] = {}
    for name, digest in zip(division, digests, strict=True):
        if name is None or digest is None or pd.isna(digest) or digest == "":
            continue
        if seen.setdefault(digest, name) != name:
            raise DivisionError(
                f"the same images stand in {seen[digest]} and in {name} under two case_ids: a patient may be in one "
                f"split only (content_digest {str(digest)[:12]})"
            )

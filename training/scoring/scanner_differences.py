"""What scanners do to features: the result, as a cohort and its evaluation carry it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FamilyDifferences:
    """Counts of one class of features.

    Attributes
    ----------
    features
        That vary within every scanner.
    training_before, training_after, test_before, test_after
        That differ between scanners before and after ComBat, which is fitted on training patients; None where fewer than two
        scanners have five patients.
    associated_before, associated_after
        That are associated with expression in the training patients.
    """

    features: int
    training_before: int | None
    training_after: int | None
    test_before: int | None
    test_after: int | None
    associated_before: int
    associated_after: int


@dataclass(frozen=True, slots=True)
class ScannerDifferences:
    """Differences of features between scanners.

    Attributes
    ----------
    by
        What tells scanners apart: a column of the cases.
    left_out
        Training patients of each scanner that has too few of them.
    unnamed
        Training patients of no named scanner.
    patients, high
        By scanner: training patients, and their share of high expression.
    unknown_in_test
        Test patients of a scanner that the training does not know well enough: nothing can be taken out of theirs.
    confounding
        P of chi-squared that the scanners' shares of high expression do not differ.
    families
        By class of the feature.
    """

    by: str
    left_out: dict[str, int]
    unnamed: int
    patients: dict[str, int]
    high: dict[str, float]
    unknown_in_test: int
    confounding: float
    families: dict[str, FamilyDifferences]

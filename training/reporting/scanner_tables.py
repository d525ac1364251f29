"""The page's section on scanners: how far features differ between them, before and after ComBat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from training.expression.scanners import SIGNIFICANT
from training.reporting.tables import Table
from training.scoring.scanner_differences import FamilyDifferences, ScannerDifferences
from training.statistics.combat import FEWEST_PER_BATCH
from training.statistics.estimability import NotEstimable
from training.statistics.wording import p_value, said

CONFOUNDED: Final = (
    "Scanner and expression go together in these patients ({p}): a difference between scanners can be one of their patients. ComBat "
    "takes out both, so that fewer features may be associated with expression afterwards, and no method can tell which of the two it was."
)


@dataclass(frozen=True, slots=True)
class ScannerTables:
    """The section.

    Attributes
    ----------
    notes
        Sentences.
    families
        Counts by class of feature; None where there is no result.
    """

    notes: str
    families: Table | None


def scanner_tables(found: ScannerDifferences | NotEstimable) -> ScannerTables:
    """Put differences between scanners into sentences and a table.

    Parameters
    ----------
    found
        Of an evaluation.

    Returns
    -------
    ScannerTables
    """
    if isinstance(found, NotEstimable):
        return ScannerTables(said(found, str), None)
    scanners = ", ".join(
        f"{name} ({n} patients, {100 * found.high[name]:.0f} % high)" for name, n in found.patients.items()
    )
    sentences = [
        f"Training patients by {found.by}: {scanners}.",
        "A feature differs where the Kruskal-Wallis test says so (5 %, Benjamini-Hochberg); it is associated with expression where "
        "the Mann-Whitney U test does, in training patients. ComBat is fitted on training patients, without the label.",
        "It is told, and no part of the score: a patient of a scanner that it does not know could not be scored by it.",
    ]
    if found.left_out:
        small = ", ".join(f"{name} ({n})" for name, n in found.left_out.items())
        sentences.append(
            f"Left out, because a mean and a spread need {FEWEST_PER_BATCH} training patients or more: {small}."
        )
    if found.unnamed:
        sentences.append(f"Of {found.unnamed} training patients the {found.by} is not known.")
    if found.confounding < SIGNIFICANT:
        sentences.append(CONFOUNDED.format(p=p_value(found.confounding)))
    if found.unknown_in_test:
        sentences.append(
            f"{found.unknown_in_test} test patients are of another scanner than these, or of none that is named, and are left out."
        )
    head = (
        "Class of feature",
        "n",
        "differ, training",
        "after ComBat",
        "differ, test",
        "after ComBat",
        "associated",
        "after ComBat",
    )
    return ScannerTables(
        " ".join(sentences), Table.of(head, [_row(name, family) for name, family in found.families.items()])
    )


def _row(name: str, family: FamilyDifferences) -> tuple[str, ...]:
    counts = (
        family.features,
        family.training_before,
        family.training_after,
        family.test_before,
        family.test_after,
        family.associated_before,
        family.associated_after,
    )
    return (name, *("–" if count is None else str(count) for count in counts))

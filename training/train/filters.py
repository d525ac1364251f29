"""Filters of the feature selection in a training run: stability and correlation, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pdl1es.features.names import FEATURE_NAMES
from training.cohort.prepared import PreparedCohort
from training.controls.repeated_features import RepeatedFeatures
from training.fit import FeatureSelection, SelectionFilters
from training.statistics.stability import feature_stability
from training.train.config import FeatureFilters, TrainingConfig
from training.train.run_folder import TrainingError


def with_repeats(config: TrainingConfig, repeats: RepeatedFeatures | None) -> TrainingConfig:
    """Write the digest of the features that were measured again into a configuration.

    Parameters
    ----------
    config
        What was asked for.
    repeats
        What was given, or None.

    Returns
    -------
    TrainingConfig

    Raises
    ------
    TrainingError
        The configuration names other ones, or needs them where none were given.
    """
    asked, digest = config.filters.stability, None if repeats is None else repeats.digest()
    if asked not in (None, digest):
        given = "none were given" if digest is None else f"those given have {digest}"
        raise TrainingError(
            f"the configuration filters by features measured again with SHA-256 {asked}, and {given}: choose their folder "
            "with --stability"
        )
    if config.filters.prefer == "stable" and digest is None:
        raise TrainingError(
            "to keep the most stable of correlated features, give features measured again by --stability"
        )
    if digest is None:
        return config
    return config.model_copy(update={"filters": config.filters.model_copy(update={"stability": digest})})


def filters_of(config: TrainingConfig, repeats: RepeatedFeatures | None, patients: PreparedCohort) -> SelectionFilters:
    """Return the filters for the patients that are fitted on; stability is that of these patients alone.

    Parameters
    ----------
    config
        What was asked for.
    repeats
        Features measured again, of these and perhaps other patients; None where none were given.
    patients
        Who is fitted on.

    Returns
    -------
    SelectionFilters

    Raises
    ------
    TrainingError
        Too few of them were measured again.
    """
    asked = config.filters
    stability = None
    if repeats is not None:
        try:
            stability = feature_stability(repeats.of(patients.cases))
        except ValueError as error:
            raise TrainingError(f"stability cannot be told: {error}") from error
    return SelectionFilters(stability, asked.smallest_icc, asked.largest_correlation, asked.prefer)


def filter_document(
    config: TrainingConfig, filters: SelectionFilters, selection: FeatureSelection, repeats: RepeatedFeatures | None
) -> dict[str, Any]:
    """Return what ``summary.json`` says of the filters; empty where there was none.

    Parameters
    ----------
    config
        What was asked for.
    filters, selection, repeats
        Of the training patients.

    Returns
    -------
    dict[str, Any]
        Counts in all, by class of the feature and by image.
    """
    if config.filters == FeatureFilters():
        return {}
    stable = None if filters.stability is None else filters.stability.holds(filters.smallest_icc)
    passed = set(selection.stands) or set(selection.selected)
    # image_class_Name; no part holds an underscore
    parts = np.array([name.split("_")[:2] for name in FEATURE_NAMES])

    def counted(column: int) -> dict[str, dict[str, int]]:
        found = {}
        for family in dict.fromkeys(parts[:, column]):
            members = np.flatnonzero(parts[:, column] == family)
            found[str(family)] = {
                "features": len(members),
                **({} if stable is None else {"stable": int(stable[members].sum())}),
                "passed_the_test": len(passed & set(members.tolist())),
                "selected": len(set(selection.selected) & set(members.tolist())),
            }
        return found

    document: dict[str, Any] = {"by_class": counted(1), "by_image": counted(0)}
    if filters.stability is not None and repeats is not None and stable is not None:
        document["stability"] = {
            "icc": "ICC(1,1), lower limit of the 95 % interval",
            "smallest": filters.smallest_icc,
            "source": repeats.source,
            "patients": filters.stability.n,
            "measurements": filters.stability.repeats,
            "stable": int(stable.sum()),
            "features": len(FEATURE_NAMES),
        }
    if filters.largest_correlation is not None:
        document["correlation"] = {
            "largest_spearman": filters.largest_correlation,
            "kept": filters.prefer,
            "passed_the_test": len(selection.stands),
            "selected": len(selection.selected),
        }
    return document


def filters_in_words(document: Mapping[str, Any]) -> str:
    """Return ``fitted.filters`` of a summary as sentences; empty where there was no filter.

    Parameters
    ----------
    document
        As of `filter_document`.

    Returns
    -------
    str
    """
    sentences = []
    if stability := document.get("stability"):
        families = ", ".join(
            f"{name} {counts['stable']} of {counts['features']}" for name, counts in document["by_class"].items()
        )
        sentences.append(
            f"Stable are {stability['stable']} of {stability['features']} features ({families}): the lower limit of the 95 % "
            f"interval of ICC(1,1) is {stability['smallest']:g} or more, in {stability['patients']} training patients with "
            f"{stability['measurements']} measurements each ({stability['source']}). The others were not tested."
        )
    if correlation := document.get("correlation"):
        best = {"associated": "smallest P", "stable": "largest lower limit"}[correlation["kept"]]
        sentences.append(
            f"Of {correlation['passed_the_test']} features that passed the test {correlation['selected']} were selected: no two "
            f"have an absolute Spearman correlation above {correlation['largest_spearman']:g}, and of correlated ones that with "
            f"the {best} stays."
            if correlation["passed_the_test"]
            else "No feature passed the test, so that none was looked at for correlation."
        )
    return " ".join(sentences)

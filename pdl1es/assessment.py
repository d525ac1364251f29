"""Everything that is known about one study after the chain. Both result.json and the SR are written from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pdl1es.clinical import ClinicalData
from pdl1es.dicom.selection.survey import Selection
from pdl1es.grid.measurement import RoiSlice, TumourMeasurement
from pdl1es.grid.patches import RoiPatches
from pdl1es.model.metadata import CutOff, ModelMetadata
from pdl1es.model.prediction import Prediction, score_text
from pdl1es.model.training_reach import Remoteness, remoteness, unlike_training_warning
from pdl1es.plausibility.check import Plausibility
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.score_warning import ScoreWarning
from pdl1es.stability import ContourStability, contour_warning

DEFAULT_RULES: Final = PlausibilityRules()


@dataclass(frozen=True, slots=True)
class Assessment:
    """One scored tumour.

    Attributes
    ----------
    selection, tumour, roi_slice, patches, clinical, prediction, model
        What each step of the chain found.
    expression_group
        Which side of the model's expression cut-off the score lies on, in the model's words; None where it is withheld.
    risk_group
        Which side of the progression cut-off, in the model's words; None where it is withheld.
    clinical_risk_group, fusion_risk_group
        The Cox models' groups, or None where the model has none. The clinical one is never withheld, because no image goes
        into it; the fusion group is, also where pembrolizumab is not known to be the treatment, since the model says nothing
        about others.
    warnings
        All warnings, in the order in which a reader should see them.
    contour_stability
        The score for other contours, or None where it was not asked for.
    plausibility
        The numbers by which the tumour was judged plausible.
    remoteness
        How it lies to the model's training patients.
    """

    selection: Selection
    tumour: TumourMeasurement
    roi_slice: RoiSlice
    patches: RoiPatches
    clinical: ClinicalData
    prediction: Prediction
    model: ModelMetadata
    expression_group: str | None
    risk_group: str | None
    clinical_risk_group: str | None
    fusion_risk_group: str | None
    warnings: tuple[ScoreWarning, ...]
    contour_stability: ContourStability | None = None
    plausibility: Plausibility | None = None
    remoteness: Remoteness | None = None

    @property
    def withheld(self) -> str | None:
        """Why the groups are withheld; None where they are not."""
        return withheld_because(self.warnings)

    def __repr__(self) -> str:
        return (
            f"Assessment(score={self.prediction.score:.3f}, expression_group={self.expression_group!r}, "
            f"risk_group={self.risk_group!r}, {len(self.warnings)} warnings)"
        )


def withheld_because(warnings: tuple[ScoreWarning, ...]) -> str | None:
    """Return why the groups are withheld: the messages of the warnings that withhold them, without a full stop; None where none does."""
    reasons = [warning.message.rstrip(".") for warning in warnings if warning.effect == "withhold_group"]
    return "; ".join(reasons) or None


def group_of(value: float | None, cut_off: CutOff | None) -> str | None:
    """Return the side of a cut-off on which a value lies.

    Parameters
    ----------
    value
        On the cut-off's scale; None where the model does not give it.
    cut_off
        Of the model, or None.

    Returns
    -------
    str or None
        In the model's words. A value at the cut-off is below it (paper: > 0.66 is high).
    """
    if value is None or cut_off is None:
        return None
    return cut_off.above if value > cut_off.value else cut_off.below


def imputation_warning(prediction: Prediction) -> ScoreWarning | None:
    """Return the warning that more than one of the four clinical variables was imputed."""
    if len(prediction.imputed) < 2:
        return None
    names = ", ".join(name.replace("_", " ") for name in prediction.imputed)
    return ScoreWarning(
        "CLINICAL_VALUES_IMPUTED",
        f"{len(prediction.imputed)} of the 4 clinical variables were not known and were imputed: {names}.",
    )


def unknown_values_warning(prediction: Prediction, cut_off: CutOff, question: str) -> ScoreWarning | None:
    """Return the warning that clinical values which are not known would change the group.

    Parameters
    ----------
    prediction
        With the range of scores over these values.
    cut_off
        On the score.
    question
        What it decides, as ``"the risk group"``.

    Returns
    -------
    ScoreWarning or None
        CLINICAL_VALUES_DECIDE.
    """
    if prediction.imputed_range is None:
        return None
    lowest, highest = prediction.imputed_range
    if not lowest <= cut_off.value < highest:
        return None
    return ScoreWarning(
        "CLINICAL_VALUES_DECIDE",
        f"Over the values that may be true of the unknown ones ({variables_in_words(prediction.imputed)}) the score ranges from "
        f"{score_text(lowest)} to {score_text(highest)}: they decide on which side of the cut-off "
        f"{score_text(cut_off.value)} for {question} it lies.",
    )


def variables_in_words(variables: Sequence[str]) -> str:
    """Return clinical variables as a reader says them, as ``"age and family history"``."""
    *first, last = (name.replace("_", " ") for name in variables)
    return f"{', '.join(first)} and {last}" if first else last


def slice_spread_warning(prediction: Prediction, cut_off: CutOff, question: str) -> ScoreWarning | None:
    """Return the warning that the slices' own scores lie on both sides of a cut-off.

    Parameters
    ----------
    prediction
        With the slices' scores.
    cut_off
        On the score.
    question
        What it decides, as ``"the risk group"``.

    Returns
    -------
    ScoreWarning or None
        SLICES_DISAGREE.
    """
    low, high = float(prediction.slice_scores.min()), float(prediction.slice_scores.max())
    if not low <= cut_off.value < high:
        return None
    return ScoreWarning(
        "SLICES_DISAGREE",
        f"The scores of the three slices ({score_text(low)} to {score_text(high)}) lie on both sides of the cut-off "
        f"{score_text(cut_off.value)} "
        f"for {question}.",
    )


def missing_features_warning(prediction: Prediction) -> ScoreWarning | None:
    """Return the warning that selected features could not be computed."""
    if not prediction.missing_features:
        return None
    return ScoreWarning(
        "FEATURES_MISSING",
        "Radiomic features of the model that could not be computed and count as the training mean: "
        f"{len(prediction.missing_features)}.",
    )


def assess(
    *,
    selection: Selection,
    tumour: TumourMeasurement,
    roi_slice: RoiSlice,
    patches: RoiPatches,
    clinical: ClinicalData,
    prediction: Prediction,
    model: ModelMetadata,
    contour_stability: ContourStability | None = None,
    unreadable_files: int = 0,
    rules: PlausibilityRules = DEFAULT_RULES,
    plausibility: Plausibility | None = None,
    further_warnings: tuple[ScoreWarning, ...] = (),
) -> Assessment:
    """Put the chain's results together with the groups and the warnings that follow from them.

    Parameters
    ----------
    selection, tumour, roi_slice, patches, clinical, prediction, model, contour_stability
        As in `Assessment`.
    unreadable_files
        Files of the study that were given up.
    rules
        What to do where the tumour is unlike the model's training patients.
    plausibility
        Of the tumour; None where it was not judged.
    further_warnings
        Of steps that have no place in the parameters above.

    Returns
    -------
    Assessment
        Groups are withheld where a warning says so. Warnings come in the order in which a reader needs them: imputed
        clinical values, whether they decide, slices that disagree, a contour that decides, what is implausible, the protocol's, then the
        features' and the files'. Where the groups are withheld, nothing is said of what would turn them over: there is no
        cut-off to lie on a side of.
    """
    questions = (
        (model.expression_cut_off, "high PD-L1 expression"),
        (model.progression_cut_off, "the risk group"),
    )
    spread = [unknown_values_warning(prediction, cut_off, question) for cut_off, question in questions]
    spread += [slice_spread_warning(prediction, cut_off, question) for cut_off, question in questions]
    if contour_stability is not None:
        spread += [contour_warning(contour_stability, cut_off, question) for cut_off, question in questions]
    files = (
        ScoreWarning(
            "FILES_UNREADABLE", f"Files of the study that could not be read and were left out: {unreadable_files}."
        )
        if unreadable_files
        else None
    )
    unlike = remoteness(
        model.training_reach,
        clipped=len(prediction.clipped_features),
        features=len(model.selected_features),
        distance=prediction.training_distance,
        tumour=tumour,
    )
    implausible = plausibility.warnings if plausibility is not None else ()
    optional = [
        *implausible,
        *selection.warnings,
        missing_features_warning(prediction),
        unlike_training_warning(unlike, rules.unlike_training),
        *further_warnings,
        files,
    ]
    of_the_input = tuple(warning for warning in optional if warning is not None)
    withheld = withheld_because(of_the_input) is not None
    of_the_score = [imputation_warning(prediction), *([] if withheld else spread)]
    warnings = (*(warning for warning in of_the_score if warning is not None), *of_the_input)
    return Assessment(
        selection=selection,
        tumour=tumour,
        roi_slice=roi_slice,
        patches=patches,
        clinical=clinical,
        prediction=prediction,
        model=model,
        expression_group=None if withheld else group_of(prediction.score, model.expression_cut_off),
        risk_group=None if withheld else group_of(prediction.score, model.progression_cut_off),
        clinical_risk_group=group_of(prediction.clinical_risk, model.clinical_cut_off),
        fusion_risk_group=(
            group_of(prediction.fusion_risk, model.fusion_cut_off)
            if not withheld and clinical.on_pembrolizumab
            else None
        ),
        warnings=warnings,
        contour_stability=contour_stability,
        plausibility=plausibility,
        remoteness=unlike,
    )

"""The report's codes: DICOM, SNOMED CT, UCUM and LOINC where they have one, else a declared private scheme.

No standard code exists for a score of PD-L1 expression from CT. The codes of the tissue assay (LOINC 85147-7, NCIt
C184941) are never used: the score is no measurement on tissue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset

from pdl1es.dicom.coded_concept import Code

SCHEME: Final = "99PDL1ES"
SCHEME_VERSION: Final = "2"
SCHEME_NAME: Final = "PD-L1ES report concepts"
SCHEME_ORGANIZATION: Final = "PD-L1ES open-source project"
IHE_SCHEME: Final = "99IHE"
"""IHE's provisional codes: AI Results (AIR) 6.5.3.1 has no other for its purpose 'Processing Algorithm'."""

MAX_MEANING: Final = 64
"""Code Meaning is LO (PS3.5 table 6.2-1)."""
MAX_VALUE: Final = 16
"""Code Value is SH."""


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


def _ucum(value: str, meaning: str) -> Code:
    return Code(value, "UCUM", meaning)


def _own(value: str, meaning: str) -> Code:
    return Code(value, SCHEME, meaning)


# DICOM (PS3.16 annex D)
REPORT_TITLE: Final = _dcm("126001", "Oncology Measurement Report")
SUMMARY: Final = _dcm("121111", "Summary")
IMAGING_MEASUREMENTS: Final = _dcm("126010", "Imaging Measurements")
MEASUREMENT_GROUP: Final = _dcm("125007", "Measurement Group")
OF_INTEREST: Final = _dcm("113000", "Of Interest")
KEY_OBJECT_DESCRIPTION: Final = _dcm("113012", "Key Object Description")
PROCEDURE_REPORTED: Final = _dcm("121058", "Procedure reported")
FINDING: Final = _dcm("121071", "Finding")
REFERENCED_SEGMENT: Final = _dcm("121191", "Referenced Segment")
REGION_IN_SPACE: Final = _dcm("130488", "Region in Space")
SOURCE_SERIES: Final = _dcm("121232", "Source series for segmentation")
ILLUSTRATION_OF_ROI: Final = _dcm("121200", "Illustration of ROI")
DERIVATION: Final = _dcm("121401", "Derivation")
CLASS_ACTIVATION_MAP: Final = _dcm("130402", "Class activation map")
SUMMARY_OF_ANALYSES: Final = _dcm("111065", "Summary of Analyses")
NOT_ATTEMPTED: Final = _dcm("111225", "Not Attempted")
SUBJECT_AGE: Final = _dcm("121033", "Subject Age")
SUBJECT_SEX: Final = _dcm("121032", "Subject Sex")

# SNOMED CT
NEOPLASM: Final = _sct("108369006", "Neoplasm")
VOLUME: Final = _sct("118565006", "Volume")
MAXIMUM: Final = _sct("56851009", "Maximum")
HIGH_RISK: Final = _sct("15508007", "High risk")
LOW_RISK: Final = _sct("75976002", "Low risk")

# LOINC (CID 100 Quantitative Diagnostic Imaging Procedure)
CT_CHEST: Final = Code("24627-2", "LN", "CT Chest")

# Units. An annotation in braces is UCUM's unit 1 with a name: viewers show the unit's code behind the number, and a
# bare '1' behind a score reads as part of it.
PROBABILITY_UNIT: Final = _ucum("{probability}", "probability")
SCORE_UNIT: Final = _ucum("{score}", "score")
LOG_ODDS: Final = _ucum("{log-odds}", "log-odds")
MILLILITRE: Final = _ucum("mL", "milliliter")
MILLIMETRE: Final = _ucum("mm", "millimeter")

# Private: results
PROBABILITY: Final = _own("PDL1-PROB", "Estimated probability of PD-L1 TPS >= 50 %")
SCORE: Final = _own("PDL1-SCORE", "PD-L1ES score (0 to 1; not a probability)")
EXPRESSION_GROUP: Final = _own("PDL1-GROUP", "Estimated PD-L1 expression")
RISK_GROUP: Final = _own("RISK-GROUP", "Estimated risk of progression under first-line pembrolizumab")
CLINICAL_RISK_GROUP: Final = _own("RISK-CLINICAL", "Estimated risk by clinical values alone (secondary)")
FUSION_RISK_GROUP: Final = _own("RISK-FUSION", "Estimated risk by score and clinical values (secondary)")
DISAGREEMENT: Final = _own("RISK-DISAGREE", "Risk groups that disagree")
DIRECTION: Final = _own("RISK-DIRECTION", "Direction of the score")
ACCURACY: Final = _own("PDL1-ACCURACY", "Accuracy of the estimated expression at its cut-off")
GROUP_CONCEPTS: Final = (EXPRESSION_GROUP, RISK_GROUP, CLINICAL_RISK_GROUP, FUSION_RISK_GROUP)
HIGH_EXPRESSION: Final = _own("PDL1-HIGH", "Estimated high PD-L1 expression")
LOW_EXPRESSION: Final = _own("PDL1-LOW", "Estimated low PD-L1 expression")
NOT_HIGH_EXPRESSION: Final = _own("PDL1-NOT-HIGH", "Estimated PD-L1 expression not high")
SLICE_SCORE_LOWEST: Final = _own("SLICE-LOWEST", "Lowest score of a single slice")
SLICE_SCORE_HIGHEST: Final = _own("SLICE-HIGHEST", "Highest score of a single slice")
CONTOUR_SCORE_LOWEST: Final = _own("CONTOUR-LOWEST", "Lowest score with the contour changed by 1 mm")
CONTOUR_SCORE_HIGHEST: Final = _own("CONTOUR-HIGHEST", "Highest score with the contour changed by 1 mm")
CONTOURS_TRIED: Final = _own("CONTOURS-TRIED", "Contours changed by 1 mm")

PAGE: Final = _own("PAGE", "The same report as a page (PDF)")

# Private: reasons
CONTRIBUTION_DEEP: Final = _own("LOGODDS-DEEP", "Contribution to the score: deep features")
CONTRIBUTION_RADIOMIC: Final = _own("LOGODDS-RADIOMIC", "Contribution to the score: radiomic features")
CONTRIBUTION_CLINICAL: Final = _own("LOGODDS-CLINICAL", "Contribution to the score: clinical values")
CONTRIBUTION_BIAS: Final = _own("LOGODDS-BIAS", "Contribution to the score: constant of the model")
CONTRIBUTION_SUM: Final = _own("LOGODDS-SUM", "Sum of the contributions")

# Private: notices for the reader
NOTICE: Final = _own("NOTICE", "Notice")
WARNING: Final = _own("WARNING", "Warning")
WARNINGS: Final = _own("WARNINGS", "Warnings")
REPLACES: Final = _own("REPLACES", "Replaces")
APPLIES_TO: Final = _own("APPLIES-TO", "Applies to")
NO_SUBSTITUTE: Final = _own("NO-SUBSTITUTE", "Not a substitute")
LIMITATION: Final = _own("LIMITATION", "Limitation")
READING_OF_CONTRIBUTIONS: Final = _own("READING-LOGODDS", "Reading of the contributions")
CLINICAL_VALUES: Final = _own("CLINICAL-VALUES", "Clinical values used")
SMOKING: Final = _own("SMOKING", "Smoking")
FAMILY_HISTORY: Final = _own("FAMILY-HISTORY", "Family history of cancer")
METHOD: Final = _own("METHOD", "Method")
MODEL: Final = _own("MODEL", "Model")
TRAINED_ON: Final = _own("TRAINED-ON", "Trained on")
INTENDED_USE: Final = _own("INTENDED-USE", "Intended use")
CUT_OFF: Final = _own("CUT-OFF", "Cut-off")
CONTOUR: Final = _own("CONTOUR", "Contour")
CT_SERIES_NUMBER: Final = _own("CT-SERIES-NO", "CT series number")
ROI_INSTANCE_NUMBER: Final = _own("ROI-INSTANCE-NO", "Image number of the slice of largest tumour area")
ROI_FRAME_NUMBER: Final = _own("ROI-FRAME-NO", "Frame number of the slice of largest tumour area")
ROI_POSITION_Z: Final = _own("ROI-POSITION-Z", "Image Position z of the slice of largest tumour area")

# Private: the tumour's size. The standard's codes leave open whether a diameter is measured in space or on a slice.
DIAMETER_3D: Final = _own("DIAMETER-3D-MAX", "3-D maximum diameter")
DIAMETER_AXIAL: Final = _own("DIAMETER-AXIAL", "Longest axial diameter (RECIST)")
DIAMETER_ACROSS: Final = _own("DIAMETER-ACROSS", "Longest diameter perpendicular to it on that slice")
AXIAL_PLACE: Final = _own("AXIAL-PLACE", "Slice of the longest axial diameter")

# Private: a study that was not analysed
NOT_ANALYSED_TITLE: Final = _own("NOT-ANALYSED", "PD-L1ES: study not analysed")
REFUSAL_REASON: Final = _own("REFUSAL-REASON", "Reason")
REFUSAL_MEANING: Final = _own("REFUSAL-MEANING", "What is wrong")
REFUSAL_FOUND: Final = _own("REFUSAL-FOUND", "What was found")
REFUSAL_REMEDY: Final = _own("REFUSAL-REMEDY", "What to do")
REFUSAL_OBJECT: Final = _own("REFUSAL-OBJECT", "Object at fault")
REFUSAL_ATTRIBUTE: Final = _own("REFUSAL-TAG", "Attribute at fault")

PROCESSING_ALGORITHM: Final = Code("Newcode1", IHE_SCHEME, "Processing Algorithm")

GROUP_CODES: Final[dict[str, Code]] = {
    "high risk": HIGH_RISK,
    "low risk": LOW_RISK,
    "high expression": HIGH_EXPRESSION,
    "low expression": LOW_EXPRESSION,
    "not high expression": NOT_HIGH_EXPRESSION,
    "high pd-l1 expression": HIGH_EXPRESSION,
    "low pd-l1 expression": LOW_EXPRESSION,
}
"""A model's words for its groups that have a code; other words are reported as text."""


def code_table() -> str:
    """Return the codes of the reports as Markdown, by scheme and value, for the conformance statement."""
    found = {(code.scheme, code.value): code.meaning for code in globals().values() if isinstance(code, Code)}
    ordered = sorted(found.items(), key=lambda entry: (entry[0][0].startswith("99"), entry[0]))
    lines = ["| scheme | code value | code meaning |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {scheme} | {value} | {meaning} |" for (scheme, value), meaning in ordered)]) + "\n"


def group_code(words: str) -> Code | None:
    """Return the code for a group in the model's words, or None where there is none."""
    return GROUP_CODES.get(" ".join(words.replace("-", " ").split()).lower().replace("pd l1", "pd-l1"))


def code_sequence_item(code: Code) -> Dataset:
    """Return a code as an item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def usable_code(code: Code | None) -> Code | None:
    """Return a segmentation's or a header's code, stripped, or None where the report cannot use it.

    A code is left out where value, scheme or meaning is missing or longer than DICOM allows (a Long Code Value, say):
    the report then falls back on a general one instead of failing on another software's object.
    """
    if code is None:
        return None
    value, scheme, meaning = (part.strip() for part in (code.value, code.scheme, code.meaning))
    if not value or not scheme or not meaning:
        return None
    if len(value) > MAX_VALUE or len(scheme) > MAX_VALUE or len(meaning) > MAX_MEANING:
        return None
    return Code(value, scheme, meaning)


def coding_scheme_identification(schemes_of_input: Sequence[Dataset], used: set[str]) -> list[Dataset]:
    """Return the items of the Coding Scheme Identification Sequence (PS3.3 C.12.1.1.7).

    Parameters
    ----------
    schemes_of_input
        Items of the segmentation's own sequence, from which a foreign private scheme is passed on.
    used
        Designators of every code of the report.

    Returns
    -------
    list of Dataset
        This project's scheme, IHE's provisional one, and every other private scheme (``99...``) in use.
    """
    own = Dataset()
    own.CodingSchemeDesignator = SCHEME
    own.CodingSchemeName = SCHEME_NAME
    own.CodingSchemeVersion = SCHEME_VERSION
    own.CodingSchemeResponsibleOrganization = SCHEME_ORGANIZATION
    ihe = Dataset()
    ihe.CodingSchemeDesignator = IHE_SCHEME
    ihe.CodingSchemeName = "IHE provisional codes (AI Results)"
    ihe.CodingSchemeResponsibleOrganization = "IHE International"
    items = [own, ihe]
    known = {str(item.get("CodingSchemeDesignator", "")): item for item in schemes_of_input}
    for designator in sorted(used - {SCHEME, IHE_SCHEME}):
        if not designator.startswith("99"):
            continue
        foreign = Dataset()
        foreign.CodingSchemeDesignator = designator
        for keyword in ("CodingSchemeName", "CodingSchemeVersion", "CodingSchemeResponsibleOrganization"):
            text = str(known.get(designator, Dataset()).get(keyword, "") or "")
            if text:
                setattr(foreign, keyword, text[:MAX_VALUE] if keyword == "CodingSchemeVersion" else text)
        items.append(foreign)
    return items


if __name__ == "__main__":
    print(code_table(), end="")

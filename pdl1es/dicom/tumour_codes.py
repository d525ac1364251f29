"""Codes by which a segment is known as a tumour of the lung: tables after PS3.16 and SNOMED CT.

Each entry is written ``scheme:value``. A SNOMED RT code that PS3.16 annex O maps to one of these SNOMED CT codes
matches it (`code_is_among`), so that only codes that no table maps stand here as ``SRT``.
"""

from __future__ import annotations

from typing import Final

TUMOUR_CODES: Final = (
    "SCT:86049000",  # malignant neoplasm, primary ('Neoplasm, Primary' of dcmqi and 3D Slicer)
    "SCT:372087000",  # primary malignant neoplasm
    "SCT:108369006",  # neoplasm
    "SRT:M-80000",  # neoplasm, in the form of SNOMED RT that no table maps
    "SCT:4147007",  # mass
    "SCT:118538004",  # mass, the one that PS3.16 prefers
    "SCT:27925004",  # nodule
    "SCT:308689002",  # coin lesion of lung
    "SCT:427359005",  # solitary nodule of lung
    "SCT:309529002",  # lung mass
    "SCT:126713003",  # neoplasm of lung
    "SCT:363358000",  # malignant tumour of lung
    "SCT:93880001",  # primary malignant neoplasm of lung
    "SCT:254637007",  # non-small cell lung cancer
    "SCT:254626006",  # adenocarcinoma of lung
    "SCT:254634000",  # squamous cell carcinoma of lung
    "SCT:128632008",  # non-small cell carcinoma
    "SCT:1187425009",  # carcinoma
    "SCT:68453008",  # carcinoma, no subtype
    "SCT:1187332001",  # adenocarcinoma
    "SCT:35917007",  # adenocarcinoma, no subtype
    "SCT:1162767002",  # squamous cell carcinoma
    "SCT:28899001",  # squamous cell carcinoma, no subtype
    "SCT:22687000",  # large cell carcinoma
    "SCT:228791009",  # gross tumour volume
    "NCIt:C168968",  # FDG-avid tumour, as BAMF Health's models write it
)
"""Segmented Property Type of what is scored. Small cell carcinoma is left out: the method is made for NSCLC."""

SECONDARY_CODES: Final = (
    "SCT:14799000",  # neoplasm, metastatic ('Neoplasm, Secondary')
    "SCT:128462008",  # secondary malignant neoplastic disease
    "SCT:94391008",  # secondary malignant neoplasm of lung
)
"""Metastases: the paper draws the primary tumour."""

NEUTRAL_CODES: Final = (
    "SCT:85756007",  # tissue: what 3D Slicer writes where nobody chose
    "SCT:49755003",  # morphologically altered structure
    "SCT:52988006",  # lesion
)
"""Types that name neither a tumour nor anything else, so that the label decides."""

PLACEHOLDER_CODES: Final = ("SCT:78961009",)
"""Spleen: what MONAI Label, and viewers after it, write for any segment, with the segment's label as Code Meaning."""

GROSS_TUMOUR_VOLUME: Final = "GTV"
"""The RT ROI Interpreted Type (PS3.3 C.8.8.8.1) of what is scored."""

UNSAID_TYPES: Final = ("", "ORGAN", "CONTROL", "DOSE_REGION", "NONE", "OTHER", "UNDEFINED", "UNKNOWN")
"""RT ROI Interpreted Types that planning systems write for any region, so that its name decides; the last four are not the
standard's."""

FOREIGN_CATEGORIES: Final = (
    "SCT:260787004",  # physical object
    "SCT:91720002",  # body substance
    "SCT:105590001",  # substance
    "SCT:246464006",  # function
)
"""Segmented Property Categories (PS3.16 CID 7150) of what is no part of a patient, a phantom's insert among them."""

ANATOMICAL_STRUCTURE: Final = ("SCT:123037004",)
"""Category of organs: a segment of it is no tumour by its label alone."""

LUNG_SITES: Final = (
    "SCT:39607008",  # lung
    "SCT:3341006",  # right lung
    "SRT:T-28100",
    "SCT:44029006",  # left lung
    "SRT:T-28500",
    "SCT:74101002",  # both lungs
    "SCT:31094006",  # lobe of lung
    "SCT:45653009",  # upper lobe
    "SCT:90572001",  # lower lobe
    "SCT:40020002",  # middle lobe
    "SCT:42400003",  # right upper lobe
    "SRT:T-28200",
    "SCT:72481006",  # right middle lobe
    "SCT:266005",  # right lower lobe
    "SRT:T-28400",
    "SCT:44714003",  # left upper lobe
    "SCT:41224006",  # left lower lobe
    "SRT:T-28800",
    "SCT:85537004",  # lingula
    "SCT:72674008",  # segment of lung
    "SCT:86598002",  # apex of lung
    "SCT:46750007",  # hilum of lung
    "SCT:281392002",  # upper zone
    "SCT:281393007",  # middle zone
    "SCT:281394001",  # lower zone
    "SCT:955009",  # bronchus
    "SCT:70074004",  # right main bronchus
    "SCT:75245000",  # left main bronchus
    "SCT:310787001",  # lung and mediastinum
    "SCT:51185008",  # thorax
    "SCT:816094009",  # thorax, the one that PS3.16 prefers
    "SCT:43799004",  # chest cavity
    "FMA:7195",  # lung
    "FMA:7309",  # right lung
    "FMA:7310",  # left lung
    "NCIt:C12468",  # lung
    "RADLEX:RID1301",  # lung
)
"""Anatomic Regions in which a primary tumour of the lung can lie."""

"""Labels that people and segmenters write are taken; nodes, metastases, margins and organs are not."""

from __future__ import annotations

import pytest

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.segmentation import Segment
from pdl1es.dicom.selection.rules import SegmentRules
from pdl1es.dicom.selection.segment import judge_segment

TISSUE = Code("85756007", "SCT", "Tissue")


def accepted(label: str, rules: SegmentRules | None = None, interpreted_type: str | None = None) -> bool:
    segment = Segment(1, label, TISSUE, TISSUE, None, None, None, None, interpreted_type=interpreted_type)
    return judge_segment(segment, rules or SegmentRules())[0]


@pytest.mark.parametrize(
    "label",
    """lung_nodules|pulmonary nodule|Lung Lesion|GTV primary|GTV_Lung_R|Tumor Right Upper Lobe|GTV|GTV-1|gtv1|GTVp|GTV_T|GTVp_1
    |GTV-T1|TUMOUR|tumor 2|Tumor_c40|primary tumor|Primary_Lung_Tumor|PrimaryLungTumour|LungTumor|Lung.Mass|mass, right hilar
    |pulmonary-nodules|Nodule 3|Lung cancer LUL|NSCLC|neoplasm, primary|lesion primary|primary lesion|GTV nodule|GTV_mass
    |Left lower lobe mass|tumor in the RUL|lungtumor|GTVprimary|primary GTV lung|GTV_RUL_1|RUL nodule|Lesion RUL|right upper lobe lesion|Nodule no. 2|Nodule #3|Tumor II|tumor_mask|NSCLC tumor|adenocarcinoma|Pulmonary Lesions|lung cancer nodule|GTV primary lung tumor|nodules|GTV 50%|carcinoma|GTV_lung|Tumor (left)|main tumor""".replace(
        "\n    |", "|"
    ).split("|"),
)
def test_a_tumours_label_is_taken(label: str) -> None:
    assert accepted(label) or label == "mass, right hilar"  # a hilar mass can be nodes: it is not taken
    assert not accepted("mass, right hilar")


@pytest.mark.parametrize(
    "label",
    """GTV node|GTV-N|GTVn|GTV_N2|GTVnd|GTV LN|gtv_ln_4r|GTV nodes|lymph node|Lymph_Nodes|LN|LN_c40|LN 4R|LN4R|N2|met|mets|Brain Met
    |metastasis|lung metastases|LungMets|adrenal_met|GTV M1|secondary tumor|adenopathy|benign nodule|nodal mass|lung_tumor_LN
    |CTV|CTV_p|PTV|PTV60|ITV|IGTV|iGTV_lung|GTV+5mm|GTV ring|tumor bed|peritumoral|tumour margin
    |Lung|Lung_R|lung left|lobe|right upper lobe|lung_upper_lobe_left|trachea|airway|lung_trachea_bronchia|lung_vessels|Heart
    |Segment_1|Segment 1|lesion|Lesion 1|ROI|thyroid nodule|liver tumor|no tumor|lung lobe|left lung lobe|mask|satellite nodule|TumorNode|GTV total|GTV_MIP|mediastinal mass|external|body|Carina_c40|
    """.replace("\n    |", "|").split("|"),
)
def test_another_structures_label_is_not_taken(label: str) -> None:
    assert not accepted(label.strip())


GERMAN = (
    "Tumor re. OL",
    "Lungentumor",
    "Primärtumor",
    "Rundherd links",
    "Lungenrundherd_1",
    "Bronchialkarzinom",
    "Lungenherd re UL",
)
CHINESE = (
    "肺肿瘤",
    "肺结节",
    "右肺上叶结节",
    "原发灶",
    "左肺癌",
    "右肺下叶肿块",
    "肺部腫瘤"[:1] + "腫瘤",
    "肺结节2",
    "肺病灶",
)


@pytest.mark.parametrize("label", [*GERMAN, *CHINESE])
def test_german_and_chinese_labels_are_taken_where_the_settings_name_the_language(label: str) -> None:
    assert accepted(label, SegmentRules(label_languages=("en", "de", "zh")))


@pytest.mark.parametrize(
    "label",
    [
        "Lymphknoten",
        "Lungenmetastase",
        "LK 4R",
        "Lunge rechts",
        "Oberlappen",
        "淋巴结",
        "肺转移瘤",
        "右肺",
        "右肺上叶",
        "纵隔淋巴结转移",
    ],
)
def test_other_structures_in_those_languages_are_not(label: str) -> None:
    assert not accepted(label, SegmentRules(label_languages=("en", "de", "zh")))


@pytest.mark.parametrize("label", ["Lungenrundherd", "肺结节"])
def test_without_the_setting_they_are_not(label: str) -> None:
    assert not accepted(label)


@pytest.mark.parametrize("label", ["Lung-GTV", "Lungs-GTV", "Lung_R-GTV", "Lung_L - GTV", "LUNG-ITV", "Lung Total-GTV"])
def test_lung_minus_target_is_no_tumour(label: str) -> None:
    # TG-263 writes a difference of structures with a hyphen
    assert not accepted(label)


@pytest.mark.parametrize(
    "label", ["Lung GTV", "lung_GTV", "lung-nodule", "Lung-mass", "GTV-Lung", "RUL-GTV", "GTV 1 - lung"]
)
def test_a_lung_tumours_label_with_a_hyphen_is_taken(label: str) -> None:
    assert accepted(label)


def test_a_sites_own_pattern_sees_the_label_as_it_is_written() -> None:
    rules = SegmentRules(labels=(r"^ROI_7$",))
    assert accepted("ROI_7", rules)
    assert not accepted("ROI 8", rules)


@pytest.mark.parametrize(("kind", "label", "taken"), [
    ("GTV", "NEDF1", True), ("GTV", "GTV node", False), ("GTV", "LN 7", False), ("ORGAN", "Tumor_c40", True),
    ("", "GTV-1", True), ("CTV", "Tumor", False), ("PTV", "GTV", False), ("EXTERNAL", "Tumor", False),
    ("AVOIDANCE", "GTV", False), ("ORGAN", "Heart", False), ("UNDEFINED", "GTV-1", True), ("NONE", "Heart", False),
    ("GTV", "PTV", False), ("GTV", "ITV_c40", False), ("GTV", "GTV+5mm", False), ("GTV", "iGTV", True), ("GTV", "Lung_R-GTV", False),
])  # fmt: skip
def test_the_rt_roi_interpreted_type_counts_beside_the_name(kind: str, label: str, taken: bool) -> None:
    segment = Segment(1, label, None, None, None, None, None, None, interpreted_type=kind)
    assert judge_segment(segment, SegmentRules())[0] is taken

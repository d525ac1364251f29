"""Text of a file, before it stands in a log, a message or a result: what could be a name is not repeated.

Only words of known vocabularies are: DICOM's terms, words of anatomy and of contours, names of kernels. Other text is told by
its length and the beginning of its SHA-256, so that two texts can be compared and none be read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from pdl1es.dicom.tumour_labels import LABELS_BY_LANGUAGE, label_matches, separated_label

MODALITIES: Final = frozenset(
    """
    AR ANN ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DMS DG DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT
    IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP
    RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP
    TG US VA XA XAPROTOCOL XC XRD ST MS CD DD DS CF DF FA FS LP MA VF DM FLT CP
    """.split()  # noqa: SIM905 - a list has a line for each
)
"""Defined Terms of Modality (PS3.3 C.7.3.1.1.1), retired ones among them."""
TERMS: Final = frozenset(
    """
    HU HU_MOD US OD MGML Z_EFF ED EDW MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_ICT YBR_RCT
    YBR_PARTIAL_420 PALETTE PALETTE_COLOR ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER BINARY FRACTIONAL
    LABELMAP MANUAL AUTOMATIC SEMIAUTOMATIC GTV CTV PTV ITV ORGAN AVOIDANCE EXTERNAL SUPPORT ISOCENTER
    REGISTRATION CONTROL BOLUS CAVITY CONTRAST_AGENT MARKER FIXATION DOSE_REGION TREATED_VOLUME IRRAD_VOLUME
    BRACHY_CHANNEL BRACHY_ACCESSORY DOSE_MEASUREMENT POINT OPEN_PLANAR OPEN_NONPLANAR CLOSED_PLANAR CLOSEDPLANAR_XOR
    present absent unknown
    """.split()  # noqa: SIM905 - a list has a line for each
)
"""Defined Terms of the attributes whose values messages repeat."""
WORDS: Final = frozenset(
    """
    a abdomen abdominal abnormal abnormality adenocarcinoma adrenal air airway all anatomic anatomical and aorta
    aortic apex apical arm artery atelectasis atrium auto background basal benign bladder body bone bowel brain
    breast bronchi bronchialkarzinom bronchus cancer carcinoma cardiac carina case cavity cell central chest
    circle clavicle colon concept cord coronary ctv cyst definition diaphragm disease duct effusion emphysema
    esophageal esophagus external eye face fat femur fibrosis field final fissure fluid from gland gross gtv gtvm
    gtvn gtvp gtvt head heart herz hilar hilum hip humerus in index inferior internal involved itv jaw karzinom
    kidney l large larynx lateral leber left lesion lesions lingula lingular links liver lll lobe lobes local
    location lower lt lul lung lunge lungen lungs lymph lymphatic main malignant mandible manual marker mask mass
    masses medial mediastinal mediastinum metastases metastasis metastatic middle milz mittellappen morphologic
    morphologically morphology mouth muscle n neck necrosis neoplasm neoplasms neoplastic niere nodal node nodes
    nodule nodules non nr nsclc number oberlappen oesophagus of on optic oral organ other p pancreas part patient
    pelvis pericardium peripheral pet pharynx physical plan pleura pleural pneumonia pneumothorax primary prostate
    ptv pulmonary r raumforderung rechts rectum region relational relationship rib ribs right rll rml roi rt rul
    rundherd sclc secondary sector seg segment segmentation semi shape shoulder skeletal skin small soft solid
    spatial spinal spine spleen squamous stenosis sternum stomach structure superior suspicious suv t target test
    the thoracic thorax throat thymus thyroid tissue to total trachea tumor tumoren tumors tumour tumours
    uncertain ungraded unspecified unterlappen upper uterus v vascular vein ventricle ventricular vertebra
    vertebrae vessel vessels volume wall whole with without
    """.split()  # noqa: SIM905 - a list has a line for each
)
"""Words of anatomy, of disease and of contours; a label or a meaning that has no other is repeated."""
SCHEMES: Final = frozenset(
    """
    SCT SRT SNM3 99SDM DCM FMA NCIT RADLEX UMLS UCUM UNS MA LN 99PDL1ES 99TCIA 99IHE 99PMP 99CHEMBL
    """.split()  # noqa: SIM905 - a list has a line for each
)

_CODE_VALUE: Final = re.compile(r"\d{3,18}|C\d{4,7}|RID\d{2,6}|[A-Z]{1,2}\d?-[0-9A-F]{4,6}")
_KERNEL: Final = re.compile(
    # Siemens, Canon and Toshiba; GE's, Philips' and United Imaging's words
    r"[A-Z][a-z]?\d{2,3}[a-z]?|[A-Z]{2}\d{2}|\d|[A-Z]|Y[A-D]|EB|EC|[VB]_?V?(SOFT|SHARP|STANDARD|LUNG|BONE)_?[A-Z]?"
    r"|LUNG|BONE|BONEPLUS|EDGE|ULTRA|SOFT|STANDARD|STND|STD|CHEST|CHST|DETAIL|[A-Z]{4,8}PLUS|i\w?\d{1,2}"
)
_OTHER: Final = re.compile(r"[\s_.,;:()\[\]{}/\\&'+#%<>=*-]*")

_allowed: ContextVar[bool] = ContextVar("free text may be shown", default=False)


@contextmanager
def free_text_shown(allowed: bool) -> Iterator[None]:
    """Let free text be repeated within the block, where a site's settings say so; or not."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def printable(text: str) -> str:
    """Return a text for a message: one line, at most 100 characters, no control characters."""
    return "".join(character if character.isprintable() else "?" for character in text)[:100]


def hidden(text: str) -> str:
    """Return what is told of a text that could be a name: ``text of 12 characters (sha256 1a2b3c4d)``."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"text of {len(text)} characters (sha256 {digest})"


def shown_term(text: str, vocabulary: Container[str] = TERMS) -> str:
    """Return a text where it is a term of a vocabulary, a number or a UID, else what `hidden` tells.

    Parameters
    ----------
    text
        Of a file.
    vocabulary
        Terms that are repeated.

    Returns
    -------
    str
    """
    known = (
        not text
        or text in vocabulary
        or re.fullmatch(r"[+-]?\d{0,9}\.?\d{1,12}(e[+-]?\d{1,3})?|[0-9.\\]{1,64}|nan|[+-]?inf", text)
    )
    return text if known else _told(text)


def shown_words(text: str) -> str:
    """Return a label or a meaning where all its words are known ones, else what `hidden` tells."""
    return text if not text or _are_known(text) else _told(text)


def shown_code(value: str, scheme: str, meaning: str) -> str:
    """Return a coded concept for a message: ``Neoplasm, Primary (86049000, SCT)``, each part where it is a known one.

    Parameters
    ----------
    value, scheme, meaning
        Code Value, Coding Scheme Designator and Code Meaning as the file has them.

    Returns
    -------
    str
    """
    value = value if _CODE_VALUE.fullmatch(value) else _told(value)
    return f"{shown_words(meaning)} ({value}, {shown_term(scheme, SCHEMES)})"


def shown_kernel(value: str) -> str:
    """Return a value of Convolution Kernel where it is formed as vendors form theirs, else what `hidden` tells."""
    return value if not value or _KERNEL.fullmatch(value.strip()) else _told(value)


def _told(text: str) -> str:
    return printable(text) if _allowed.get() else hidden(text)


def _are_known(text: str) -> bool:
    if any(label_matches(text, patterns) for patterns in LABELS_BY_LANGUAGE.values()):
        return True
    rest = separated_label(text).casefold()
    words = re.findall(r"[^\W\d_]+", rest)
    numbers = re.findall(r"\d+", rest)
    between = re.sub(r"[^\W\d_]+|\d+", "", rest)
    few = len(numbers) <= 3 and all(len(number) <= 3 for number in numbers)
    return few and len(text) <= 64 and all(word in WORDS for word in words) and _OTHER.fullmatch(between) is not None

"""Reads from a header what a CT image was computed from: a projection, an average, a reformat, a map of a material.

Image Type (0008,0008) and Frame Type (0008,9007) have few defined values; from the third value on, vendors write words of
their own. They are compared word by word, so that ``MIP_TRA``, ``CSA MIP`` and ``CT_SOM5 MIP`` are one word.

Sources of the words
--------------------
- DICOM: PS3.3 C.8.2.1.1.1 (CT; value 4 of multi-energy images: VMI, MAT_SPECIFIC, MAT_REMOVED, MAT_FRACTIONAL,
  EFF_ATOMIC_NUM, ELECTRON_DENSITY, MAT_MODIFIED, MAT_VALUE_BASED), C.8.15.2.1.1 and C.8.16.1 (enhanced CT: ATTENUATION,
  ENERGY_PROP_WT, MAXIMUM, MINIMUM, MEAN, SUBTRACTION, RESAMPLED...), C.8.16.2.1.3 (Volume Based Calculation Technique);
  PS3.16 CID 7203 (Image Derivation); PS3.17 JJJJ (which multi-energy images are in Hounsfield units, and why a viewer must
  not take them for a plain CT).
- Siemens: DICOM conformance statement of syngo MultiModality Workplace 2008B, annex CT (value 3: OTHER, MPR, PROJECTION
  IMAGE). As written by SOMATOM scanners and syngo.via, in public headers and in lists of tools that sort images:
  ``CT_SOM5 MPR``, ``CT_SOM5 MIP``, ``CT_SOM5 PROT``, ``CSA MPR``, ``CSA MPR THICK``, ``CSA MIP``, ``CSA MIP THIN``,
  ``CSA RESAMPLED``, ``MIP_TRA``, ``MPR THICK``, ``MPR FUSION``, ``CT_SOM8 DEOC``. ``STD``, ``SNRG``, ``DET_AB`` and
  ``CT_SOM7 SPI DUAL`` are ordinary images.
- GE's Advantage Workstation, in the same lists: ``REFORMATTED`` with ``AVERAGE``; ``ADD`` in a public series of a tilted
  gantry. Toshiba, Canon and Neusoft: ``MPR``. NeuroLogica: ``DOSE``.
- The names that the vendors' programs have for such images: MPVR, GSI, VUE (GE), MonoE, Z effective, electron density
  (Philips), monoenergetic, VNC, Rho/Z (Siemens).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from pdl1es.dicom.header_elements import attribute_value


class ImageKind(Enum):
    """Kinds of images other than a slice as it was reconstructed."""

    NO_CT_SLICE = "no CT slice"
    """A localiser, a projection, a rendering, a capture, or a map in other units: its pixels are not the attenuation in
    one plane."""
    SPECTRAL = "spectral"
    """Attenuation of a material, without a material, or at one energy: in Hounsfield units, and no plain CT."""
    AVERAGED = "averaged"
    """An average, a sum or a thick slab of several images, or a smoothed image."""
    ATTENUATION_CORRECTION = "attenuation correction"
    """The low dose CT that corrects a PET."""
    REFORMATTED = "reformatted"
    """Interpolated between slices, and perhaps averaged."""
    MULTI_ENERGY = "multi-energy"
    """From a multi-energy acquisition, and nothing says that it is other than a conventional image."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """What one image was computed from.

    Attributes
    ----------
    kind
        What it is.
    told_by
        Attribute and word that tell it, as ``"Image Type AVERAGE"``. The word comes from the vocabulary of this module,
        never from the file.
    """

    kind: ImageKind
    told_by: str


def _vocabulary(words: str, stems: str = "") -> re.Pattern[str]:
    """Return a pattern of whole words, and of stems that any letters and digits may follow (``MONO70KEV``)."""
    whole = rf"(?P<word>{'|'.join(words.split())})$"
    return re.compile(rf"{whole}|(?P<stem>{'|'.join(stems.split())})[A-Z0-9+]*$" if stems else whole)


_WORDS: Final[Mapping[ImageKind, re.Pattern[str]]] = {
    ImageKind.NO_CT_SLICE: _vocabulary(
        # localisers and captures
        r"LOCALI[SZ]ERS? SCOUT TOPOGRAMM? TOPO SURVIEW SCANOGRAM SCANO SCREENSAVE SCREENSHOT SCREENCAPTURE SCREEN DOSE"
        r" DOSEINFO DOSEREPORT PROT PATIENTPROTOCOL"
        # projections and renderings
        r" T?MIPS?\d* MAX MAXIMUM MAXIP MAXIMUMIP MAXIMUMINTENSITY MIN MINIMUM MI?NIP\d* MINIMUMIP MINIMUMINTENSITY"
        r" PROJECTIONS? PROJECTIONIMAGE PJN MPVR VRT\d* VR SSD RENDER RENDERED RENDERING VOLUMERENDER SURFACERENDER CPR"
        r" CURVED CURVEDMPR ENDOSCOPY ENDOSCOPIC ENDOLUMINAL FLYTHROUGH FUSION FUSED COLOU?R"
        # arithmetic and maps whose values are not Hounsfield units
        r" SUB SUBTRACT SUBTRACTED SUBTRACTION DIFFERENCE DSA DIVISION MULTIPLICATION MASKED TTEST ZSCORE STDDEV"
        r" STDDEVIATION STANDARDDEVIATION PERFUSION PERF R?CBF R?CBV MTT TTP TMAX TTD ZEFF ZEFFECTIVE EFFZ EFFECTIVEZ"
        r" EFFATOMICNUM EFFATOMICNUMBER EFFECTIVEATOMICNUMBER RHO RHOZ RHOE ELECTRONDENSITY MATFRACTION MATFRACTIONAL"
        r" MATVALUEBASED MD MATERIALDENSITY SPR STOPPINGPOWER"
    ),
    ImageKind.SPECTRAL: _vocabulary(
        r"IOD VNCA? VNI VNU VUE VMC \d{2,3}KEV HAP FAT XENON KRYPTON URIC URICACID GOUT PBV OVERLAY BONEMARROW MAT"
        r" MATSPECIFIC MATREMOVED MATMODIFIED DECOMPOSITION SUPPRESSED SUPPRESSION",
        r"IODINE VNC VIRTUAL VMI MONO(?!CHROME\d?$) KEV CALCIUM WATER MATERIAL",
    ),
    ImageKind.AVERAGED: _vocabulary(
        r"T?AVG(?:IP)? T?AVE(?:IP)? T?AVERAGED?(?:IP)? AIP MEAN MEDIAN RAYSUM M?SUM ADD ADDITION THICK SLAB SMOOTHED"
        r" SMOOTHING FILTERED"
    ),
    ImageKind.ATTENUATION_CORRECTION: _vocabulary(r"CTACS? ACCT AC ATTENUATION ATTENUATIONCORRECTION"),
    ImageKind.REFORMATTED: _vocabulary(r"D?MPRS?\d* REFORMAT REFORMATTED RESAMPLED"),
    ImageKind.MULTI_ENERGY: _vocabulary(r"SPECTRAL GSI DUALENERGY MULTIENERGY DECT DE DEOC SPP SBI ENERGYPROPWT"),
}
"""Words of Image Type, by what they say; the kind that comes first wins where a word is in two."""
_LONGEST_PHRASE: Final = 3
"""Words of a value that are put together, because vendors separate them in many ways: ``Z_EFF``, ``MAX IP``."""

_DERIVATION_CODES: Final[Mapping[str, tuple[ImageKind, str]]] = {
    "113046": (ImageKind.NO_CT_SLICE, "Pixel by pixel division"),
    "113047": (ImageKind.NO_CT_SLICE, "Pixel by pixel mask"),
    "113048": (ImageKind.NO_CT_SLICE, "Pixel by pixel maximum"),
    "113051": (ImageKind.NO_CT_SLICE, "Pixel by pixel minimum"),
    "113053": (ImageKind.NO_CT_SLICE, "Pixel by pixel multiplication"),
    "113062": (ImageKind.NO_CT_SLICE, "Pixel by pixel subtraction"),
    "113073": (ImageKind.NO_CT_SLICE, "Curved multiplanar reformatting"),
    "113074": (ImageKind.NO_CT_SLICE, "Volume rendering"),
    "113075": (ImageKind.NO_CT_SLICE, "Surface rendering"),
    "113078": (ImageKind.NO_CT_SLICE, "Maximum intensity projection"),
    "113079": (ImageKind.NO_CT_SLICE, "Minimum intensity projection"),
    "129104": (ImageKind.NO_CT_SLICE, "Perfusion image analysis"),
    "113042": (ImageKind.AVERAGED, "Pixel by pixel addition"),
    "113049": (ImageKind.AVERAGED, "Pixel by pixel mean"),
    "113087": (ImageKind.AVERAGED, "Smoothing"),
    "113088": (ImageKind.AVERAGED, "Gaussian blur"),
    "113072": (ImageKind.REFORMATTED, "Multiplanar reformatting"),
    "113085": (ImageKind.REFORMATTED, "Spatial resampling"),
    "113097": (ImageKind.MULTI_ENERGY, "Multi-energy proportional weighting"),
}
"""DCM codes of CID 7203, Image Derivation."""

_WITHIN: Final[Mapping[ImageKind, ImageKind]] = {
    ImageKind.REFORMATTED: ImageKind.AVERAGED,
    ImageKind.MULTI_ENERGY: ImageKind.SPECTRAL,
}
"""Kinds that say nothing more where the other one was found."""


def derivations_of(
    image_type: Iterable[str],
    *,
    technique: Iterable[str] = (),
    derivation_codes: Iterable[Any] = (),
    multi_energy: bool = False,
    energy_kev: bool = False,
    other_units: bool = False,
) -> tuple[Derivation, ...]:
    """Tell what an image was computed from.

    Descriptions and comments are not read, because they are free text and state plans rather than facts.

    Parameters
    ----------
    image_type
        Values of Image Type, or of Frame Type for a frame.
    technique
        Values of Volume Based Calculation Technique (0008,9207).
    derivation_codes
        Items of Derivation Code Sequence (0008,9215).
    multi_energy
        Whether Multi-energy CT Acquisition (0018,9361) is YES, or the image has a Multi-energy CT Processing Sequence.
        A missing KVP is no sign, because de-identification removes it as well.
    energy_kev
        Whether the image names the energy of which it is the monoenergetic equivalent.
    other_units
        Whether Real World Value Mapping gives the values another unit than Hounsfield's.

    Returns
    -------
    tuple of Derivation
        One of each kind at most, in the order of `ImageKind`; empty for a slice as it was reconstructed.
    """
    values = tuple(value.upper() for value in image_type)
    found: dict[ImageKind, str] = {}
    for attribute, texts in (("Image Type", values), ("Volume Based Calculation Technique", technique)):
        for kind, word in filter(None, map(_first_word, texts)):
            found.setdefault(kind, f"{attribute} {word}")
    for code, scheme in _codes(derivation_codes):
        if scheme == "DCM" and code in _DERIVATION_CODES:
            kind, meaning = _DERIVATION_CODES[code]
            found.setdefault(kind, f"Derivation Code {meaning}")
    if energy_kev:
        found.setdefault(ImageKind.SPECTRAL, "Monoenergetic Energy Equivalent")
    if other_units:
        found.setdefault(ImageKind.SPECTRAL, "Real World Value Mapping to other units")
    if multi_energy:
        # A derived image of such an acquisition is hardly the conventional one (PS3.17 JJJJ.3).
        kind = ImageKind.SPECTRAL if values[:1] == ("DERIVED",) else ImageKind.MULTI_ENERGY
        found.setdefault(kind, "Multi-energy CT Acquisition YES")
    return tuple(
        Derivation(kind, found[kind]) for kind in ImageKind if kind in found and _WITHIN.get(kind) not in found
    )


@lru_cache(maxsize=1024)
def _first_word(value: str) -> tuple[ImageKind, str] | None:
    """Return the first kind in the order of `ImageKind` that a value's words tell, with the word; or None."""
    # 'Low dose' in any spelling is no dose report.
    words = re.findall(r"[A-Z0-9+]+", re.sub(r"LOW[^A-Z0-9]*DOSE", "LOWDOSE", value.upper()))
    phrases = [
        "".join(words[start : start + length])
        for length in range(1, _LONGEST_PHRASE + 1)
        for start in range(len(words) - length + 1)
    ]
    for kind in ImageKind:
        for phrase in phrases:
            match = _WORDS[kind].match(phrase)
            if match is not None:
                return kind, match["word"] or match["stem"]
    return None


def _codes(items: Iterable[Any]) -> list[tuple[str, str]]:
    return [
        (str(attribute_value(item, "CodeValue") or ""), str(attribute_value(item, "CodingSchemeDesignator") or ""))
        for item in items
    ]

"""The acquisition protocol: what the paper asks of a CT, and what a series that breaks it means for the report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pdl1es.dicom.series import CTSeries, attribute_value, kernels_of, median_slice_spacing
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning

Sharpness = Literal["sharp", "smooth", "unknown"]
Action = Literal["warn", "withhold_group", "refuse"]

SIEMENS_SHARP_FROM: Final = 50
"""First of Siemens' two-digit kernel numbers that counts as sharp.

The paper excludes B30f and includes B60f and says nothing of those between. The manufacturer's operating instructions
(SOMATOM Sensation, body kernels) call B30 and B40 standard for body tissue and list B50 to B80 for higher sharpness, and
B30f / B50f is the smooth / sharp pair of the National Lung Screening Trial. Br, Bl, Bv, Hr, Qr and the iterative I
kernels keep the numbering."""

_SIEMENS: Final = re.compile(r"^(?!FC)[A-Z]{1,3}(\d{2})[A-Z]{0,2}(?:[_ ]\d)?$")
_CANON: Final = re.compile(r"^FC(\d{2})\D*$")
_CANON_SHARP: Final = (range(30, 40), range(50, 60), range(80, 90))
"""Canon (Toshiba) FC numbers: 30-39 bone and inner ear, 50-59 lung, 80-89 high resolution."""
_CANON_SMOOTH: Final = (range(1, 30),)
"""1-19 body with and without beam hardening correction, 20-29 head. What is in no range stays unknown."""
_GE_SHARP: Final = frozenset({"LUNG", "BONE", "BONEPLUS", "EDGE", "ULTRA", "HDLUNG", "HDBONE", "HDBONEPLUS", "HDEDGE"})
_GE_SMOOTH: Final = frozenset(
    {"SOFT", "STANDARD", "STND", "STD", "STDPLUS", "STANDARDPLUS", "CHEST", "CHST", "HDSTND", "HDSOFT"}
)
"""GE's names without spaces and underscores. DETAIL lies between STANDARD and BONE and stays unknown."""
_PHILIPS_SHARP: Final = frozenset({"D", "E", "L", "YA", "YB", "YC", "YD"})
_PHILIPS_SMOOTH: Final = frozenset({"A", "B", "C"})
"""Philips' letters: A to C soft to medium, D and E sharp, L and the Y family for lung and detail. C and D are the smooth
and sharp kernel of the National Lung Screening Trial."""


class ProtocolRules(BaseModel):
    """What to do about each way in which a CT can break the protocol; every rule says ``warn``, ``withhold_group``
    (the score is reported, the risk group is not) or ``refuse``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smooth_kernel: Action = Field(
        default="withhold_group",
        description="a smooth reconstruction kernel: the paper excluded such CT (Siemens 30f)",
    )
    unknown_kernel: Action = Field(default="warn", description="a kernel that no table knows, or several kernels")
    missing_kernel: Action = Field(default="warn", description="Convolution Kernel is absent")
    thick_slices: Action = Field(default="warn", description="slices thicker than maximum_slice_thickness_mm")
    missing_slice_thickness: Action = Field(default="warn", description="Slice Thickness is absent")
    missing_manufacturer: Action = Field(default="warn", description="Manufacturer is absent")
    gantry_tilt: Action = Field(
        default="warn", description="a tilted gantry; the resampling follows the true geometry of every slice"
    )
    lossy_compression: Action = Field(default="warn", description="the images are, or may be, compressed with loss")
    maximum_slice_thickness_mm: Annotated[float, Field(gt=0.0, le=100.0)] = Field(
        default=5.0, description="thickest slices that pass, mm"
    )
    maximum_tilt_degrees: Annotated[float, Field(ge=0.0, lt=90.0)] = Field(
        default=0.5, description="largest gantry tilt that counts as none, degrees"
    )
    sharp_kernels: tuple[str, ...] = Field(
        default=(), description="further kernels that count as sharp, whatever the tables say"
    )
    smooth_kernels: tuple[str, ...] = Field(
        default=(), description="further kernels that count as smooth, whatever the tables say"
    )


def classify_kernel(kernel: tuple[str, ...], manufacturer: str, rules: ProtocolRules | None = None) -> Sharpness:
    """Tell whether a reconstruction kernel is sharp or smooth.

    Parameters
    ----------
    kernel
        Values of Convolution Kernel (0018,1210). Siemens writes the strength of its iterative reconstruction as a
        second value (``I70f\\3``); the first value that a table knows decides.
    manufacturer
        Value of Manufacturer (0008,0070); empty where it is absent, and then every table with distinctive names is
        tried (all but Philips').
    rules
        Lists of kernels that overrule the tables.

    Returns
    -------
    str
        ``sharp``, ``smooth`` or ``unknown``.

    Notes
    -----
    Anchors: the paper (Siemens 30f excluded, 60f included) and the pairs of the National Lung Screening Trial, whose
    smooth / sharp kernels were B30f / B50f (Siemens), STANDARD / BONE (GE), C / D (Philips) and FC10 / FC51 (Toshiba).
    A kernel between the anchors of its vendor that no source places is ``unknown``, which warns and withholds nothing.
    """
    values = tuple(value.strip().upper() for value in kernel if value.strip())
    if rules is not None:
        if any(value in {name.strip().upper() for name in rules.smooth_kernels} for value in values):
            return "smooth"
        if any(value in {name.strip().upper() for name in rules.sharp_kernels} for value in values):
            return "sharp"
    maker = manufacturer.upper()
    for value in values:
        for names, table in _TABLES:
            if any(re.search(rf"\b{name}\b", maker) for name in names) or (not maker.strip() and table is not _philips):
                sharpness = table(value)
                if sharpness != "unknown":
                    return sharpness
    return "unknown"


def series_sharpness(series: CTSeries, rules: ProtocolRules) -> Sharpness:
    """Return the sharpness of a series: smooth where any slice is, sharp where all are, else unknown."""
    found = {classify_kernel(kernel, _manufacturer(series), rules) for kernel in kernels_of(series)}
    if "smooth" in found:
        return "smooth"
    return "sharp" if found == {"sharp"} else "unknown"


def kernel_text(kernel: tuple[str, ...]) -> str | None:
    """Return Convolution Kernel for a message: values joined as DICOM does, without what no kernel is written with."""
    text = "\\".join(re.sub(r"[^A-Za-z0-9 _+./-]", "?", value)[:16] for value in kernel[:4])
    return text or None


@dataclass(frozen=True, slots=True)
class _Breach:
    """One broken rule."""

    action: Action
    code: str
    message: str
    tag: str
    value: str | None
    refusal: RefusalCode = RefusalCode.PROTOCOL


def check_protocol(series: CTSeries, rules: ProtocolRules) -> tuple[ScoreWarning, ...]:
    """Hold a series against the protocol.

    Parameters
    ----------
    series
        The CT that will be scored.
    rules
        What to do about each breach.

    Returns
    -------
    tuple of ScoreWarning
        One for each broken rule that warns or withholds the group: GANTRY_TILT, SMOOTH_KERNEL, UNKNOWN_KERNEL,
        KERNEL_MISSING, THICK_SLICES, SLICE_THICKNESS_MISSING, MANUFACTURER_MISSING, LOSSY_COMPRESSION.

    Raises
    ------
    Refusal
        GANTRY_TILT, else PROTOCOL, for the first broken rule whose action is ``refuse``.
    """
    warnings = []
    for breach in (*_tilt(series, rules), *_kernel(series, rules), *_thickness(series, rules), *_origin(series, rules)):
        if breach.action == "refuse":
            raise Refusal(
                breach.refusal,
                breach.message.rstrip("."),
                tag=breach.tag,
                value=breach.value,
                uid=series.series_instance_uid,
            )
        warnings.append(ScoreWarning(breach.code, breach.message, breach.action))
    return tuple(warnings)


def _tilt(series: CTSeries, rules: ProtocolRules) -> list[_Breach]:
    if series.tilt_degrees <= rules.maximum_tilt_degrees:
        return []
    return [
        _Breach(
            rules.gantry_tilt,
            "GANTRY_TILT",
            f"The gantry was tilted by {series.tilt_degrees:.1f} degrees; the slices were placed by their true geometry.",
            "ImagePositionPatient (0020,0032)",
            f"tilt {series.tilt_degrees:.1f} degrees",
            RefusalCode.GANTRY_TILT,
        )
    ]


def _kernel(series: CTSeries, rules: ProtocolRules) -> list[_Breach]:
    kernels = kernels_of(series)
    named = [text for text in map(kernel_text, kernels) if text]
    value = ", ".join(named[:3]) or None
    sharpness = series_sharpness(series, rules)
    tag = "ConvolutionKernel (0018,1210)"
    breaches = []
    if sharpness == "smooth":
        message = f"The CT was reconstructed with a smooth kernel ({value}); the method is made for sharp ones (B60f)."
        breaches.append(_Breach(rules.smooth_kernel, "SMOOTH_KERNEL", message, tag, value))
    elif named and (sharpness == "unknown" or len(kernels) > 1):
        message = (
            f"Whether the reconstruction kernel ({value}) is a sharp one is not known; the method is made for those."
        )
        if len(kernels) > 1:
            message = f"The slices were reconstructed with {len(kernels)} different kernels ({value})."
        breaches.append(_Breach(rules.unknown_kernel, "UNKNOWN_KERNEL", message, tag, value))
    if () in kernels:
        message = "The CT does not name its reconstruction kernel; the method is made for sharp ones (B60f)."
        breaches.append(_Breach(rules.missing_kernel, "KERNEL_MISSING", message, tag, None))
    return breaches


def _thickness(series: CTSeries, rules: ProtocolRules) -> list[_Breach]:
    known = [s.slice_thickness for s in series.slices if s.slice_thickness is not None and s.slice_thickness > 0.0]
    limit = rules.maximum_slice_thickness_mm
    breaches = []
    tag = "SliceThickness (0018,0050)"
    if len(known) < len(series.slices):
        message = "The CT does not state its slice thickness."
        breaches.append(_Breach(rules.missing_slice_thickness, "SLICE_THICKNESS_MISSING", message, tag, None))
    spacing = median_slice_spacing(series)
    # 1e-3 mm: thicknesses are written in decimals of a millimetre at best, 5.000 mm is not above 5 mm
    if known and max(known) > limit + 1e-3:
        message = f"Slices are {max(known):g} mm thick, above the {limit:g} mm of the protocol."
        breaches.append(_Breach(rules.thick_slices, "THICK_SLICES", message, tag, f"{max(known):g}"))
    elif spacing > limit + 1e-3:
        message = f"Slices lie {spacing:.2f} mm apart, above the {limit:g} mm of the protocol."
        position = "ImagePositionPatient (0020,0032)"
        breaches.append(_Breach(rules.thick_slices, "THICK_SLICES", message, position, f"{spacing:.2f} mm apart"))
    return breaches


def _origin(series: CTSeries, rules: ProtocolRules) -> list[_Breach]:
    breaches = []
    if not _manufacturer(series):
        message = "The CT does not name the scanner's manufacturer."
        tag = "Manufacturer (0008,0070)"
        breaches.append(_Breach(rules.missing_manufacturer, "MANUFACTURER_MISSING", message, tag, None))
    lossy = _lossy(series)
    if lossy:
        message = f"The images {lossy}, which changes texture."
        tag, value = "LossyImageCompression (0028,2110)", "01"
        if lossy.startswith("may"):
            tag, value = "TransferSyntaxUID (0002,0010)", min(set(_transfer_syntaxes(series)) & _PERHAPS_LOSSY)
        breaches.append(_Breach(rules.lossy_compression, "LOSSY_COMPRESSION", message, tag, value))
    return breaches


_ALWAYS_LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55))
_PERHAPS_LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (81, 91, 203))
"""PS3.6 table A-1: JPEG Baseline, Extended, Spectral Selection, Full Progression; JPEG-LS near-lossless, JPEG 2000 and
HTJ2K, which hold either kind."""


def _lossy(series: CTSeries) -> str | None:
    """Return how the images were compressed with loss, or None."""
    flags = {_text(attribute_value(s.instance.header, "LossyImageCompression")) for s in series.slices}
    syntaxes = set(_transfer_syntaxes(series))
    if "01" in flags or syntaxes & _ALWAYS_LOSSY:
        return "were compressed with loss"
    # A flag of "00" vouches for a syntax that can hold either; without a flag nobody does.
    if syntaxes & _PERHAPS_LOSSY and flags != {"00"}:
        return "may have been compressed with loss"
    return None


def _transfer_syntaxes(series: CTSeries) -> list[str]:
    return sorted({s.instance.transfer_syntax_uid for s in series.slices})


def _manufacturer(series: CTSeries) -> str:
    return _text(attribute_value(series.slices[0].instance.header, "Manufacturer"))


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _siemens(value: str) -> Sharpness:
    match = _SIEMENS.match(value)
    if match is None:
        return "unknown"
    return "sharp" if int(match[1]) >= SIEMENS_SHARP_FROM else "smooth"


def _ge(value: str) -> Sharpness:
    name = re.sub(r"[ _-]", "", value).replace("+", "PLUS")
    return "sharp" if name in _GE_SHARP else "smooth" if name in _GE_SMOOTH else "unknown"


def _philips(value: str) -> Sharpness:
    return "sharp" if value in _PHILIPS_SHARP else "smooth" if value in _PHILIPS_SMOOTH else "unknown"


def _canon(value: str) -> Sharpness:
    match = _CANON.match(value)
    if match is None:
        return "unknown"
    number = int(match[1])
    if any(number in numbers for numbers in _CANON_SHARP):
        return "sharp"
    return "smooth" if any(number in numbers for numbers in _CANON_SMOOTH) else "unknown"


_TABLES: Final = (
    (("CANON", "TOSHIBA"), _canon),
    (("GE", "GENERAL ELECTRIC"), _ge),
    (("PHILIPS", "MARCONI", "PICKER"), _philips),
    (("SIEMENS",), _siemens),
)
"""Words of Manufacturer, and the table that they call for."""

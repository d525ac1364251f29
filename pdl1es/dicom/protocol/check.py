"""The check of a series against the acquisition protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pdl1es.dicom.derived_image import ImageKind
from pdl1es.dicom.header_elements import attribute_value
from pdl1es.dicom.protocol.kernels import Sharpness, classify_kernel, kernel_text
from pdl1es.dicom.protocol.manufacturer import same_maker
from pdl1es.dicom.protocol.rules import Action, ProtocolRules
from pdl1es.dicom.series import CTSeries, CTSlice, kernels_of, median_slice_spacing
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning

_ALWAYS_LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55))
"""JPEG Baseline, Extended, Spectral Selection and Full Progression (PS3.6 table A-1)."""
_PERHAPS_LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (81, 91, 203))
"""JPEG-LS near-lossless, JPEG 2000 and HTJ2K, which compress with or without loss."""


def series_sharpness(series: CTSeries, rules: ProtocolRules) -> Sharpness:
    """Return the sharpness of a series.

    Parameters
    ----------
    series
        The series.
    rules
        Lists of kernels that overrule the tables.

    Returns
    -------
    str
        ``smooth`` where any slice is smooth, ``sharp`` where all are sharp, else ``unknown``.
    """
    # Each slice's kernel is looked up under that slice's own manufacturer.
    pairs = {(s.convolution_kernel, _manufacturer(s)) for s in series.slices}
    found = {classify_kernel(kernel, manufacturer, rules) for kernel, manufacturer in pairs}
    if "smooth" in found:
        return "smooth"
    return "sharp" if found == {"sharp"} else "unknown"


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
    """Check a series against the protocol.

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
        KERNEL_MISSING, THICK_SLICES, SLICE_THICKNESS_MISSING, MANUFACTURER_MISSING, SEVERAL_MANUFACTURERS,
        LOSSY_COMPRESSION, AVERAGED_IMAGES, SPECTRAL_IMAGES, MULTI_ENERGY, ATTENUATION_CORRECTION, REFORMATTED_IMAGES.

    Raises
    ------
    Refusal
        GANTRY_TILT, else PROTOCOL, for the first broken rule whose action is ``refuse``.
    """
    warnings = []
    checks = (_tilt, _kernel, _thickness, _origin, _derived)
    for breach in (breach for check in checks for breach in check(series, rules)):
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
    # Tolerance: 0.001 mm, because thicknesses are written with three decimals at most
    if known and max(known) > limit + 1e-3:
        message = f"Slices are {max(known):g} mm thick, above the {limit:g} mm of the protocol."
        breaches.append(_Breach(rules.thick_slices, "THICK_SLICES", message, tag, f"{max(known):g}"))
    elif spacing > limit + 1e-3:
        message = f"Slices lie {spacing:.2f} mm apart, above the {limit:g} mm of the protocol."
        position = "ImagePositionPatient (0020,0032)"
        breaches.append(_Breach(rules.thick_slices, "THICK_SLICES", message, position, f"{spacing:.2f} mm apart"))
    return breaches


def _origin(series: CTSeries, rules: ProtocolRules) -> list[_Breach]:
    makers = {_manufacturer(s) for s in series.slices}
    breaches = []
    tag = "Manufacturer (0008,0070)"
    if "" in makers:
        message = "The CT does not name the scanner's manufacturer."
        breaches.append(_Breach(rules.missing_manufacturer, "MANUFACTURER_MISSING", message, tag, None))
    named = frozenset(makers - {""})
    if not same_maker(named):
        message = "The slices of the CT name several manufacturers; a series comes from one scanner."
        value = f"{len(named)} different values"
        breaches.append(_Breach(rules.several_manufacturers, "SEVERAL_MANUFACTURERS", message, tag, value))
    return breaches + _compression(series, rules)


def _compression(series: CTSeries, rules: ProtocolRules) -> list[_Breach]:
    flags = {_text(attribute_value(s.instance.header, "LossyImageCompression")) for s in series.slices}
    syntaxes = {s.instance.transfer_syntax_uid for s in series.slices}
    if "01" in flags or syntaxes & _ALWAYS_LOSSY:
        message = "The images were compressed with loss, which changes texture."
        tag, value = "LossyImageCompression (0028,2110)", "01"
    elif syntaxes & _PERHAPS_LOSSY and flags != {"00"}:
        # without the flag "00" on every image, nothing says that a syntax of either kind was used without loss
        message = "The images may have been compressed with loss, which changes texture."
        tag, value = "TransferSyntaxUID (0002,0010)", min(syntaxes & _PERHAPS_LOSSY)
    else:
        return []
    return [_Breach(rules.lossy_compression, "LOSSY_COMPRESSION", message, tag, value)]


def _derived(series: CTSeries, rules: ProtocolRules) -> list[_Breach]:
    tag = "ImageType (0008,0008)"
    possible = {
        ImageKind.SPECTRAL: _Breach(
            rules.spectral_images,
            "SPECTRAL_IMAGES",
            "show a material, lack one, or are computed for one energy; the method is made for plain CT",
            tag,
            None,
        ),
        ImageKind.AVERAGED: _Breach(
            rules.averaged_images,
            "AVERAGED_IMAGES",
            "are averages of several, or smoothed; their texture is not that of slices as they are reconstructed",
            tag,
            None,
        ),
        ImageKind.ATTENUATION_CORRECTION: _Breach(
            rules.attenuation_correction,
            "ATTENUATION_CORRECTION",
            "are the low dose CT that corrects a PET; the method is made for diagnostic CT",
            tag,
            None,
        ),
        ImageKind.REFORMATTED: _Breach(
            rules.reformatted_images,
            "REFORMATTED_IMAGES",
            "were interpolated between slices, and may be averages; the method is made for slices as they are"
            " reconstructed",
            tag,
            None,
        ),
        ImageKind.MULTI_ENERGY: _Breach(
            rules.multi_energy,
            "MULTI_ENERGY",
            "come from a multi-energy acquisition; whether they equal a conventional CT is not told",
            tag,
            None,
        ),
    }
    breaches = []
    for kind, breach in possible.items():
        told = [found.told_by for s in series.slices for found in s.derivations if found.kind is kind]
        if told:
            images = "The images" if len(told) == len(series.slices) else f"{len(told)} of {len(series.slices)} images"
            breaches.append(replace(breach, message=f"{images} {breach.message} ({told[0]}).", value=told[0]))
    return breaches


def _manufacturer(ct_slice: CTSlice) -> str:
    return _text(attribute_value(ct_slice.instance.header, "Manufacturer"))


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()

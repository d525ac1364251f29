"""The acquisition protocol: which kernels are sharp, and what a breach means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydantic import ValidationError
from pydicom.uid import JPEG2000, UID, JPEGBaseline8Bit, JPEGLSNearLossless

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.protocol.check import check_protocol, series_sharpness
from pdl1es.dicom.protocol.kernels import classify_kernel, kernel_text
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.stack import ct_series
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning
from tests.unit.dicom.synthetic_ct import ct_instance, ct_stack


def warnings_of(rules: ProtocolRules | None = None, **attributes: Any) -> dict[str, ScoreWarning]:
    series = ct_series(ct_stack(**attributes))
    return {warning.code: warning for warning in check_protocol(series, rules or ProtocolRules())}


@pytest.mark.parametrize(
    ("manufacturer", "kernel", "sharpness"),
    [
        # the paper's two
        ("SIEMENS", ["B30f"], "smooth"),
        ("SIEMENS", ["B60f"], "sharp"),
        # the smooth and sharp pairs of the National Lung Screening Trial
        ("SIEMENS", ["B50f"], "sharp"),
        ("GE MEDICAL SYSTEMS", ["STANDARD"], "smooth"),
        ("GE MEDICAL SYSTEMS", ["BONE"], "sharp"),
        ("Philips", ["C"], "smooth"),
        ("Philips", ["D"], "sharp"),
        ("TOSHIBA", ["FC10"], "smooth"),
        ("TOSHIBA", ["FC51"], "sharp"),
        # Siemens: standard body kernels, and its families with the strength of iterative reconstruction
        ("SIEMENS", ["B41s"], "smooth"),
        ("SIEMENS", ["B70s"], "sharp"),
        ("SIEMENS", ["I30f", "3"], "smooth"),
        ("SIEMENS", ["I70f", "3"], "sharp"),
        ("Siemens Healthineers", ["Br40d", "3"], "smooth"),
        ("Siemens Healthineers", ["Bl57d", "3"], "sharp"),
        ("Siemens Healthineers", ["Bv36", "2"], "smooth"),
        ("Siemens Healthineers", ["Hr68"], "sharp"),
        ("Siemens Healthineers", ["Qr40", "4"], "smooth"),
        ("Siemens Healthineers", ["Br59"], "sharp"),
        ("GE MEDICAL SYSTEMS", ["LUNG"], "sharp"),
        ("GE MEDICAL SYSTEMS", ["BONEPLUS"], "sharp"),
        ("GE MEDICAL SYSTEMS", ["BONE PLUS"], "sharp"),
        ("GE MEDICAL SYSTEMS", ["STD+"], "smooth"),
        ("GE MEDICAL SYSTEMS", ["SOFT"], "smooth"),
        ("GE MEDICAL SYSTEMS", ["DETAIL"], "unknown"),
        ("Philips", ["YA"], "sharp"),
        ("Philips", ["L"], "sharp"),
        ("Philips", ["B"], "smooth"),
        ("Canon Medical Systems", ["FC52"], "sharp"),
        ("Canon Medical Systems", ["FC81"], "sharp"),
        ("Canon Medical Systems", ["FC08-H"], "smooth"),
        ("TOSHIBA", ["FC65"], "unknown"),
        # without a manufacturer, only names that no other vendor has
        ("", ["B30f"], "smooth"),
        ("", ["STANDARD"], "smooth"),
        ("", ["FC51"], "sharp"),
        ("", ["FC99"], "unknown"),
        ("", ["B"], "unknown"),
        ("", ["11"], "unknown"),
        ("", [], "unknown"),
        ("UIH", ["B_SHARP_C"], "unknown"),
        ("Philips", ["B60f"], "unknown"),
    ],
)
def test_a_kernel_is_sharp_or_smooth_by_its_vendors_table(manufacturer: str, kernel: list[str], sharpness: str) -> None:
    assert classify_kernel(tuple(kernel), manufacturer, ProtocolRules()) == sharpness


def test_the_settings_overrule_the_tables() -> None:
    rules = ProtocolRules(sharp_kernels=("Br44f",), smooth_kernels=("b60F", "DETAIL"))
    assert classify_kernel(("Br44f", "2"), "SIEMENS", rules) == "sharp"
    assert classify_kernel(("B60f",), "SIEMENS", rules) == "smooth"
    assert classify_kernel(("DETAIL",), "GE MEDICAL SYSTEMS", rules) == "smooth"


def test_a_ct_that_follows_the_protocol_has_no_warning() -> None:
    assert warnings_of() == {}


def test_a_smooth_kernel_withholds_the_risk_group_by_default() -> None:
    warning = warnings_of(ConvolutionKernel="B30f")["SMOOTH_KERNEL"]
    assert warning.effect == "withhold_group"
    assert "B30f" in warning.message


def test_one_smooth_slice_makes_the_series_smooth() -> None:
    stack = (*ct_stack(), ct_instance(60.0, ConvolutionKernel="B30f"))
    assert series_sharpness(ct_series(stack), ProtocolRules()) == "smooth"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"ConvolutionKernel": None}, "KERNEL_MISSING"),
        ({"ConvolutionKernel": ""}, "KERNEL_MISSING"),
        ({"Manufacturer": "UIH", "ConvolutionKernel": "B_SHARP_C"}, "UNKNOWN_KERNEL"),
        ({"SliceThickness": 5.5}, "THICK_SLICES"),
        ({"SliceThickness": None}, "SLICE_THICKNESS_MISSING"),
        ({"Manufacturer": None}, "MANUFACTURER_MISSING"),
        ({"LossyImageCompression": "01"}, "LOSSY_COMPRESSION"),
    ],
)
def test_every_other_breach_warns_by_default(attributes: dict[str, Any], code: str) -> None:
    found = warnings_of(**attributes)
    assert list(found) == [code]
    assert found[code].effect == "warn"


def test_slices_of_exactly_five_millimetres_pass() -> None:
    assert warnings_of(SliceThickness=5.0) == {}


def test_slices_far_apart_count_as_thick_whatever_slice_thickness_says() -> None:
    series = ct_series(ct_stack([10.0 * n for n in range(8)], SliceThickness=1))
    assert [f.code for f in check_protocol(series, ProtocolRules())] == ["THICK_SLICES"]


@pytest.mark.parametrize(
    ("syntax", "flag", "words"),
    [
        (JPEGBaseline8Bit, None, "were compressed with loss"),
        (JPEG2000, None, "may have been"),
        (JPEGLSNearLossless, None, "may have been"),
        (JPEG2000, "00", None),
        (JPEG2000, "01", "were compressed with loss"),
    ],
)
def test_loss_is_told_by_the_flag_or_else_by_the_transfer_syntax(syntax: str, flag: str | None, words: str) -> None:
    stack = ct_stack(LossyImageCompression=flag)
    for instance in stack:
        instance.header.file_meta.TransferSyntaxUID = UID(syntax)
    messages = [warning.message for warning in check_protocol(ct_series(stack), ProtocolRules())]
    assert [words in message for message in messages] == ([True] if words else [])


def tilted_stack() -> tuple[Instance, ...]:
    return ct_stack(ImageOrientationPatient=[1, 0, 0, 0, 0.9483237, -0.3173047])


def test_a_tilted_gantry_warns_with_its_angle_or_is_refused_as_the_settings_say() -> None:
    series = ct_series(tilted_stack())
    (warning,) = check_protocol(series, ProtocolRules())
    assert (warning.code, warning.effect) == ("GANTRY_TILT", "warn")
    assert "18.5 degrees" in warning.message
    with pytest.raises(Refusal) as caught:
        check_protocol(series, ProtocolRules(gantry_tilt="refuse"))
    assert caught.value.code is RefusalCode.GANTRY_TILT


@pytest.mark.parametrize(
    ("rule", "attributes", "tag", "value"),
    [
        ("smooth_kernel", {"ConvolutionKernel": "B30f"}, "ConvolutionKernel (0018,1210)", "B30f"),
        ("missing_kernel", {"ConvolutionKernel": None}, "ConvolutionKernel (0018,1210)", None),
        ("unknown_kernel", {"Manufacturer": "X"}, "ConvolutionKernel (0018,1210)", "B60f"),
        ("thick_slices", {"SliceThickness": 7}, "SliceThickness (0018,0050)", "7"),
        ("missing_slice_thickness", {"SliceThickness": None}, "SliceThickness (0018,0050)", None),
        ("missing_manufacturer", {"Manufacturer": None}, "Manufacturer (0008,0070)", None),
        ("lossy_compression", {"LossyImageCompression": "01"}, "LossyImageCompression (0028,2110)", "01"),
    ],
)
@pytest.mark.parametrize("action", ["withhold_group", "refuse"])
def test_each_rule_does_what_the_settings_say(
    rule: str, attributes: dict[str, Any], tag: str, value: str | None, action: str
) -> None:
    series = ct_series(ct_stack(**attributes))
    rules = ProtocolRules.model_validate({rule: action})
    if action == "refuse":
        with pytest.raises(Refusal) as caught:
            check_protocol(series, rules)
        assert (caught.value.code, caught.value.tag, caught.value.value) == (RefusalCode.PROTOCOL, tag, value)
    else:
        assert "withhold_group" in {warning.effect for warning in check_protocol(series, rules)}


def test_a_misspelt_rule_is_an_error() -> None:
    with pytest.raises(ValidationError, match="smoth_kernel"):
        ProtocolRules.model_validate({"smoth_kernel": "warn"})
    with pytest.raises(ValidationError, match="withhold"):
        ProtocolRules.model_validate({"smooth_kernel": "withhold"})


def test_a_kernel_in_a_message_is_short_and_printable() -> None:
    assert kernel_text(("I70f", "3")) == "I70f\\3"
    assert kernel_text(()) is None
    assert kernel_text(("B60f\nINJECTED LINE AND MORE",)) == "text of 27 characters (sha256 e3616408)"


@pytest.mark.parametrize(
    ("folder", "codes"),
    [
        ("ct_4dlung113/CT", ["KERNEL_MISSING"]),
        ("ibsi1/ct_phantom/dicom/image", ["KERNEL_MISSING"]),
        ("odd_ct/GE_tilt_nonuniform", ["GANTRY_TILT", "SMOOTH_KERNEL", "THICK_SLICES", "AVERAGED_IMAGES"]),
        ("odd_ct/scout_plus_axial/98892001/CT5N", ["SMOOTH_KERNEL"]),
        ("seg_zoo/dcmqi/ct-3slice", ["SMOOTH_KERNEL"]),
    ],
)
def test_real_series_have_the_warnings_that_their_headers_call_for(
    shared_data: Path, folder: str, codes: list[str]
) -> None:
    files = sorted(p for p in (shared_data / folder).iterdir() if p.is_file())
    series = ct_series(Instance(p, pydicom.dcmread(p, stop_before_pixels=True)) for p in files)
    assert [warning.code for warning in check_protocol(series, ProtocolRules())] == codes

"""Vendors and their kernels, in the spellings that real headers have."""

from __future__ import annotations

import pytest

from pdl1es.dicom.protocol.check import check_protocol, series_sharpness
from pdl1es.dicom.protocol.kernels import classify_kernel
from pdl1es.dicom.protocol.manufacturer import vendor_of
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.stack import ct_series
from tests.unit.dicom.synthetic_ct import ct_stack

SPELLINGS = {
    "Canon": [
        "CANON_MEC", "Canon_MEC", "CANON MEDICAL SYSTEMS", "Canon Medical Systems Corporation", "CANON-MEC", "TOSHIBA",
        "TOSHIBA_MEC", "Toshiba Medical Systems Corp.", "TOSHIBA_MEC_CT3", "TOSHIBA/MEC",
    ],
    "GE": [
        "GE MEDICAL SYSTEMS", "GEHC", "GE Healthcare", "GE HealthCare Technologies Inc.", "GE_MEDICAL_SYSTEMS", "G.E. Medical",
        "General Electric Company", "GE", "GEMS", "Wipro GE Healthcare", "GE MEDICAL SYSTEMS/CT",
    ],
    "Philips": [
        "Philips", "PHILIPS", "Philips Healthcare", "Philips Medical Systems", "Philips Medical Systems Nederland B.V.",
        "PHILIPS-MEDICAL", "Marconi Medical Systems",
    ],
    "Siemens": [
        "SIEMENS", "Siemens", "SIEMENS HEALTHINEERS", "Siemens Healthineers AG", "SIEMENS_HEALTHINEERS", "Siemens, AG",
        "Siemens Healthcare GmbH", "ＳＩＥＭＥＮＳ",
    ],
    "United Imaging": ["UIH", "United Imaging Healthcare", "SHANGHAI UNITED IMAGING HEALTHCARE CO., LTD.", "UIH_CT", "上海联影"],
    "Neusoft": ["Neusoft", "NEUSOFT MEDICAL SYSTEMS", "NMS", "Philips and Neusoft Medical Systems"],
    "Fujifilm": ["Hitachi Medical Corporation", "HITACHI", "FUJIFILM Healthcare Corporation", "FUJIFILM_HEALTHCARE"],
    "Samsung": ["SAMSUNG ELECTRONICS", "NeuroLogica", "Samsung NeuroLogica"],
    "Accuray": ["Accuray Incorporated", "TomoTherapy Incorporated"],
}  # fmt: skip


@pytest.mark.parametrize(("vendor", "text"), [(vendor, text) for vendor, texts in SPELLINGS.items() for text in texts])
def test_every_spelling_names_its_vendor(vendor: str, text: str) -> None:
    assert vendor_of(text) == vendor
    assert vendor_of(f"  {text.lower()} ") == vendor


@pytest.mark.parametrize(
    "text", ["", "  ", "ADAC", "CMS, Inc.", "Acme Medical Devices", "GENESIS", "Imagegate", "_", "人"]
)
def test_other_texts_name_none(text: str) -> None:
    assert vendor_of(text) is None


@pytest.mark.parametrize(
    ("vendor", "kernel", "sharpness"),
    [
        ("Canon", "FC08", "smooth"), ("Canon", "FC01", "smooth"), ("Canon", "FC18-H", "smooth"), ("Canon", "FC26", "smooth"),
        ("Canon", "FC30", "sharp"), ("Canon", "FC51", "sharp"), ("Canon", "FC52", "sharp"), ("Canon", "FC86", "sharp"),
        ("GE", "STANDARD", "smooth"), ("GE", "SOFT", "smooth"), ("GE", "CHEST", "smooth"), ("GE", "HD STANDARD", "smooth"),
        ("GE", "HD_CHEST", "smooth"), ("GE", "DETAIL", "unknown"), ("GE", "HD DETAIL", "unknown"), ("GE", "LUNG", "sharp"),
        ("GE", "BONE", "sharp"), ("GE", "BONEPLUS", "sharp"), ("GE", "BONE+", "sharp"), ("GE", "EDGE", "sharp"),
        ("GE", "ULTRA", "sharp"), ("GE", "HD ULTRA", "sharp"), ("GE", "HDLUNG", "sharp"), ("GE", "lung", "sharp"),
        ("Philips", "B", "smooth"), ("Philips", "C", "smooth"), ("Philips", "L", "sharp"), ("Philips", "YC", "sharp"),
        ("Siemens", "B30f", "smooth"), ("Siemens", "B31s", "smooth"), ("Siemens", "B60f", "sharp"), ("Siemens", "B75f", "sharp"),
        ("Siemens", "Br40d\\3", "smooth"), ("Siemens", "Bf37f\\2", "smooth"), ("Siemens", "Bl64d\\3", "sharp"),
        ("Siemens", "I31f\\2", "smooth"), ("Siemens", "I70f\\3", "sharp"), ("Siemens", "J30s\\1", "smooth"),
        ("Siemens", "Hr40f", "smooth"), ("Siemens", "Hr68u", "sharp"), ("Siemens", "Qr36d\\4", "smooth"),
        ("Siemens", "Br98u", "sharp"), ("Siemens", "Qr40f\\Q3", "smooth"), ("Siemens", "I44f_3", "smooth"),
        ("United Imaging", "B_SOFT_B", "smooth"), ("United Imaging", "B_VSOFT_C", "smooth"),
        ("United Imaging", "B_SHARP_C", "unknown"), ("Neusoft", "F20", "unknown"), ("Fujifilm", "22", "unknown"),
    ],
)  # fmt: skip
def test_a_kernel_is_the_same_in_every_spelling_of_its_vendor(vendor: str, kernel: str, sharpness: str) -> None:
    found = {classify_kernel(tuple(kernel.split("\\")), text, ProtocolRules()) for text in SPELLINGS[vendor]}
    if vendor == "Neusoft":  # the joint venture, too, has no table
        assert found == {"unknown"}
    assert found == {sharpness}


def test_the_same_vendor_in_two_spellings_is_one_manufacturer() -> None:
    stack = (*ct_stack(range(0, 30, 3)), *ct_stack(range(30, 60, 3), Manufacturer="Siemens Healthineers"))
    assert check_protocol(ct_series(stack), ProtocolRules()) == ()


def test_slices_of_several_manufacturers_are_told_and_each_kernel_is_its_own_vendors() -> None:
    stack = (*ct_stack(range(0, 30, 3)), *ct_stack(range(30, 60, 3), Manufacturer="GEHC", ConvolutionKernel="STANDARD"))
    series = ct_series(stack)
    assert series_sharpness(series, ProtocolRules()) == "smooth"
    codes = {warning.code: warning.effect for warning in check_protocol(series, ProtocolRules())}
    assert codes["SEVERAL_MANUFACTURERS"] == "warn"
    assert codes["SMOOTH_KERNEL"] == "withhold_group"


def test_a_manufacturer_that_some_slices_lack_is_missing() -> None:
    stack = (*ct_stack(range(0, 30, 3)), *ct_stack(range(30, 60, 3), Manufacturer=None))
    assert [warning.code for warning in check_protocol(ct_series(stack), ProtocolRules())] == ["MANUFACTURER_MISSING"]

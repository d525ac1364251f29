"""Images that are not slices as they were reconstructed, told by what vendors and the standard write about them."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from pdl1es.dicom.derived_image import ImageKind, derivations_of
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.protocol.check import check_protocol
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.rescale import refuse_other_units
from pdl1es.dicom.stack import ct_series
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.synthetic_ct import code_item, ct_stack

pytestmark = pytest.mark.filterwarnings("ignore:.*VR CS")  # vendors' values break the rules of Code String


def kinds(*image_type: str, **told: Any) -> set[ImageKind]:
    return {found.kind for found in derivations_of(image_type, **told)}


def warnings_of(**attributes: Any) -> dict[str, str]:
    series = ct_series(ct_stack(**attributes))
    return {warning.code: warning.effect for warning in check_protocol(series, ProtocolRules())}


@pytest.mark.parametrize(
    "image_type",
    [
        "ORIGINAL\\PRIMARY\\AXIAL",
        "ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI",
        "ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SEQ",
        "ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI DUAL",
        "DERIVED\\PRIMARY\\AXIAL\\CT_SOM7 SPI DUAL\\STD\\SNRG\\DET_AB",
        "ORIGINAL\\PRIMARY\\AXIAL\\HELIX",
        "ORIGINAL\\PRIMARY\\VOLUME\\NONE",
        "ORIGINAL\\PRIMARY\\AXIAL\\NORMAL",
        "DERIVED\\SECONDARY\\AXIAL",
        "DERIVED\\PRIMARY\\AXIAL\\JP2K LOSSY 6:1",
        "ORIGINAL\\SECONDARY\\AXIAL",
        "ORIGINAL\\PRIMARY\\OTHER",
        "ORIGINAL\\PRIMARY\\AXIAL\\LOW DOSE",
        "ORIGINAL\\PRIMARY\\AXIAL\\LOW_DOSE",
        "ORIGINAL\\PRIMARY\\AXIAL\\NON CONTRAST",
        "ORIGINAL\\PRIMARY\\POST_CONTRAST\\NONE",
        "ORIGINAL\\PRIMARY\\RESP_GATED\\NONE",
    ],
)
def test_a_slice_as_it_was_reconstructed_is_none_of_them(image_type: str) -> None:
    assert kinds(*image_type.split("\\")) == set()


@pytest.mark.parametrize(
    "word",
    [
        # localisers and captures
        "LOCALIZER", "SCOUT", "SURVIEW", "DOSE_INFO", "DOSE", "SCREEN SAVE", "CT_SOM5 TOP TOPOGRAM", "CT_SOM5 PROT",
        # projections
        "MIP", "MIP_TRA", "MIP_COR", "CSA MIP", "CSA MIP THIN", "CT_SOM5 MIP", "THICK MIP", "TMIP", "MAX_IP", "MAXIMUM",
        "MAX IP", "MINIP", "MNIP", "MIN_IP", "MINIMUM", "PROJECTION IMAGE", "MIP_10MM", "mip",
        # renderings
        "VRT", "VOLUME_RENDER", "SURFACE_RENDER", "SSD", "MPVR", "CURVED_MPR", "CPR", "MPR FUSION",
        # arithmetic, and maps in other units
        "SUBTRACTION", "SUB", "PERFUSION", "RCBF", "CBV", "MTT", "TTP", "Z_EFF", "ZEFF", "EFF_ATOMIC_NUM", "RHO",
        "ELECTRON_DENSITY", "MD", "GSI MD", "MD_IODINE_WATER", "MATERIAL DENSITY", "MAT_FRACTIONAL", "T_TEST", "STD_DEVIATION",
    ],
)  # fmt: skip
def test_what_is_not_the_attenuation_in_one_plane_is_set_aside(word: str) -> None:
    assert ImageKind.NO_CT_SLICE in kinds("DERIVED", "SECONDARY", "AXIAL", word)
    with pytest.raises(Refusal) as caught:
        ct_series(ct_stack(ImageType=["DERIVED", "SECONDARY", "AXIAL", word]))
    assert caught.value.code is RefusalCode.NO_ELIGIBLE_CT


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("REFORMATTED\\AVERAGE", "AVERAGED_IMAGES"),
        ("AXIAL\\AVERAGE", "AVERAGED_IMAGES"),
        ("AXIAL\\AVG", "AVERAGED_IMAGES"),
        ("AXIAL\\AVE-IP", "AVERAGED_IMAGES"),
        ("AXIAL\\T_AVG", "AVERAGED_IMAGES"),
        ("AXIAL\\MEAN", "AVERAGED_IMAGES"),
        ("AXIAL\\ADD", "AVERAGED_IMAGES"),
        ("OTHER\\CSA MPR THICK", "AVERAGED_IMAGES"),
        ("AXIAL\\MPR THICK", "AVERAGED_IMAGES"),
        ("AXIAL\\THICK_SLAB", "AVERAGED_IMAGES"),
        ("AXIAL\\RAY SUM", "AVERAGED_IMAGES"),
        ("OTHER\\CSA MPR\\CSAPARALLEL\\AXIAL\\CT_SOM5 SEQ", "REFORMATTED_IMAGES"),
        ("AXIAL\\CT_SOM5 MPR", "REFORMATTED_IMAGES"),
        ("MPR", "REFORMATTED_IMAGES"),
        ("REFORMATTED", "REFORMATTED_IMAGES"),
        ("AXIAL\\CSA RESAMPLED", "REFORMATTED_IMAGES"),
        ("AXIAL\\CT_SOM5 SPI DUAL\\VNC\\IODINE", "SPECTRAL_IMAGES"),
        ("AXIAL\\VNC", "SPECTRAL_IMAGES"),
        ("AXIAL\\DE_VNC", "SPECTRAL_IMAGES"),
        ("AXIAL\\LIVER VNC", "SPECTRAL_IMAGES"),
        ("AXIAL\\VIRTUAL NON CONTRAST", "SPECTRAL_IMAGES"),
        ("AXIAL\\VIRTUAL_UNENHANCED", "SPECTRAL_IMAGES"),
        ("AXIAL\\IODINE_NO_WATER", "SPECTRAL_IMAGES"),
        ("AXIAL\\IODINE MAP", "SPECTRAL_IMAGES"),
        ("AXIAL\\MONO_70", "SPECTRAL_IMAGES"),
        ("AXIAL\\MONO70KEV", "SPECTRAL_IMAGES"),
        ("AXIAL\\MONOE 40", "SPECTRAL_IMAGES"),
        ("AXIAL\\MONOENERGETIC_PLUS", "SPECTRAL_IMAGES"),
        ("AXIAL\\MONOCHROMATIC 70 KEV", "SPECTRAL_IMAGES"),
        ("AXIAL\\VMI", "SPECTRAL_IMAGES"),
        ("AXIAL\\GSI 70KEV", "SPECTRAL_IMAGES"),
        ("AXIAL\\MAT_SPECIFIC", "SPECTRAL_IMAGES"),
        ("AXIAL\\MAT_REMOVED", "SPECTRAL_IMAGES"),
        ("AXIAL\\MAT_MODIFIED", "SPECTRAL_IMAGES"),
        ("AXIAL\\CALCIUM SUPPRESSION", "SPECTRAL_IMAGES"),
        ("AXIAL\\WATER(IODINE)", "SPECTRAL_IMAGES"),
        ("AXIAL\\CTAC", "ATTENUATION_CORRECTION"),
        ("AXIAL\\AC LOW DOSE", "ATTENUATION_CORRECTION"),
    ],
)
def test_averages_reformats_and_spectral_images_withhold_the_group(words: str, code: str) -> None:
    found = warnings_of(ImageType=["DERIVED", "SECONDARY", *words.split("\\")])
    assert found == {code: "withhold_group"}


def test_a_grey_scale_is_no_single_energy() -> None:
    assert kinds("ORIGINAL", "PRIMARY", "AXIAL", "MONOCHROME2") == set()


def test_a_conventional_image_of_a_multi_energy_scan_warns_and_a_derived_one_withholds_the_group() -> None:
    assert warnings_of(MultienergyCTAcquisition="YES") == {"MULTI_ENERGY": "warn"}
    for word in ("GSI", "ENERGY_PROP_WT", "CT_SOM8 DEOC"):
        assert warnings_of(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", word]) == {"MULTI_ENERGY": "warn"}
    assert warnings_of(MultienergyCTAcquisition="YES", ImageType=["DERIVED", "PRIMARY", "AXIAL"]) == {
        "SPECTRAL_IMAGES": "withhold_group"
    }
    assert warnings_of(MultienergyCTAcquisition="NO", KVP=None) == {}


def test_an_image_that_names_its_energy_is_monoenergetic_whatever_its_type_says() -> None:
    item = Dataset()
    item.MonoenergeticEnergyEquivalent = 70.0
    assert warnings_of(MultienergyCTCharacteristicsSequence=[item]) == {"SPECTRAL_IMAGES": "withhold_group"}


@pytest.mark.parametrize(
    ("code", "meaning", "found"),
    [
        ("113072", "Multiplanar reformatting", {"REFORMATTED_IMAGES": "withhold_group"}),
        ("113049", "Pixel by pixel mean", {"AVERAGED_IMAGES": "withhold_group"}),
        ("113097", "Multi-energy proportional weighting", {"MULTI_ENERGY": "warn"}),
        ("113040", "Lossy Compression", {}),
    ],
)
def test_a_derivation_is_told_by_its_code(code: str, meaning: str, found: dict[str, str]) -> None:
    assert warnings_of(DerivationCodeSequence=[code_item(code, "DCM", meaning)]) == found


def test_a_projection_told_by_its_derivation_code_is_set_aside() -> None:
    projection = [code_item("113078", "DCM", "Maximum intensity projection")]
    with pytest.raises(Refusal, match="Maximum intensity projection"):
        ct_series(ct_stack(DerivationCodeSequence=projection))


def test_one_projection_among_the_slices_is_set_aside_alone() -> None:
    stack = (*ct_stack(), *ct_stack([31.0], ImageType=["DERIVED", "SECONDARY", "AXIAL", "CSA MIP"], uid="1.2.3.99"))
    series = ct_series(stack)
    assert [(entry.sop_instance_uid, entry.reason) for entry in series.set_aside] == [("1.2.3.99", "Image Type MIP")]
    assert len(series.slices) == len(stack) - 1


def test_the_number_of_images_is_told_where_not_all_are_derived() -> None:
    stack = (*ct_stack(), *ct_stack([60.0], ImageType=["DERIVED", "SECONDARY", "AXIAL", "AVERAGE"]))
    (warning,) = check_protocol(ct_series(stack), ProtocolRules())
    assert warning.message.startswith("1 of 21 images are averages")


def unit(code: str) -> list[Dataset]:
    mapping = Dataset()
    mapping.MeasurementUnitsCodeSequence = [code_item(code, "UCUM", "unit")]
    return [mapping]


def first_type(instances: tuple[Instance, ...]) -> str | None:
    return ct_series(instances).slices[0].rescale_type


def test_values_that_are_mapped_to_another_unit_are_no_hounsfield_units() -> None:
    told = first_type(ct_stack(RescaleType=None, RealWorldValueMappingSequence=unit("mg/mL")))
    with pytest.raises(Refusal) as caught:
        refuse_other_units(told, "1.2")
    assert caught.value.code is RefusalCode.NOT_HU
    assert first_type(ct_stack(RescaleType=None, RealWorldValueMappingSequence=unit("[hnsf'U]"))) is None
    assert warnings_of(RealWorldValueMappingSequence=unit("mg/mL")) == {"SPECTRAL_IMAGES": "withhold_group"}
    assert warnings_of(RealWorldValueMappingSequence=unit("[hnsf'U]")) == {}


def test_descriptions_and_comments_make_nothing_a_projection() -> None:
    assert warnings_of(SeriesDescription="MIP THICK AVERAGE", ImageComments="VNC 70 keV MIP") == {}


def test_a_message_repeats_no_word_of_the_file() -> None:
    (found,) = derivations_of(("DERIVED", "SECONDARY", "AXIAL", "IODINEJANE DOE"))
    assert found.told_by == "Image Type IODINE"


@pytest.mark.parametrize(
    "rule",
    ["averaged_images", "spectral_images", "multi_energy", "attenuation_correction", "reformatted_images"],
)
def test_each_rule_can_refuse(rule: str) -> None:
    word = {
        "averaged_images": "AVERAGE",
        "spectral_images": "VNC",
        "multi_energy": "GSI",
        "attenuation_correction": "CTAC",
        "reformatted_images": "MPR",
    }[rule]
    series = ct_series(ct_stack(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", word]))
    with pytest.raises(Refusal) as caught:
        check_protocol(series, ProtocolRules.model_validate({rule: "refuse"}))
    assert (caught.value.code, caught.value.tag) == (RefusalCode.PROTOCOL, "ImageType (0008,0008)")

"""Our features against the IBSI 1 reference values: digital phantom, CT phantom configurations C and D.

Run from the repository::

    python -m benchmarks.ibsi --data FOLDER [--output docs/ibsi.md]

``FOLDER`` (or the environment variable PDL1ES_SHARED_DATA) holds ``ibsi1`` with the phantoms, the reference values and
pyradiomics' own submission. The phantoms are described in the IBSI reference manual (Zwanenburg et al., Radiology 2020;
295(2): 328-338). The features are computed by the very functions that compute the method's.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from pdl1es.features.discretisation import GreyLevels, discretise
from pdl1es.features.first_order import first_order_features
from pdl1es.features.matrices import texture_matrices
from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.region import Crop, Region, Values
from pdl1es.features.shape import shape_features
from pdl1es.features.texture import texture_features

REPOSITORY = Path(__file__).resolve().parent.parent

TAGS = {
    "morph_volume": "shape_MeshVolume",
    "morph_vol_approx": "shape_VoxelVolume",
    "morph_area_mesh": "shape_SurfaceArea",
    "morph_av": "shape_SurfaceVolumeRatio",
    "morph_sphericity": "shape_Sphericity",
    "morph_diam": "shape_Maximum3DDiameter",
    "morph_pca_maj_axis": "shape_MajorAxisLength",
    "morph_pca_min_axis": "shape_MinorAxisLength",
    "morph_pca_least_axis": "shape_LeastAxisLength",
    "morph_pca_elongation": "shape_Elongation",
    "morph_pca_flatness": "shape_Flatness",
    "stat_mean": "firstorder_Mean",
    "stat_var": "firstorder_Variance",
    "stat_skew": "firstorder_Skewness",
    "stat_kurt": "firstorder_Kurtosis",
    "stat_median": "firstorder_Median",
    "stat_min": "firstorder_Minimum",
    "stat_p10": "firstorder_10Percentile",
    "stat_p90": "firstorder_90Percentile",
    "stat_max": "firstorder_Maximum",
    "stat_iqr": "firstorder_InterquartileRange",
    "stat_range": "firstorder_Range",
    "stat_mad": "firstorder_MeanAbsoluteDeviation",
    "stat_rmad": "firstorder_RobustMeanAbsoluteDeviation",
    "stat_energy": "firstorder_Energy",
    "stat_rms": "firstorder_RootMeanSquared",
    "ih_entropy": "firstorder_Entropy",
    "ih_uniformity": "firstorder_Uniformity",
    "cm_joint_max": "glcm_MaximumProbability",
    "cm_joint_avg": "glcm_JointAverage",
    "cm_joint_var": "glcm_SumSquares",
    "cm_joint_entr": "glcm_JointEntropy",
    "cm_diff_avg": "glcm_DifferenceAverage",
    "cm_diff_var": "glcm_DifferenceVariance",
    "cm_diff_entr": "glcm_DifferenceEntropy",
    "cm_sum_avg": "glcm_SumAverage",
    "cm_sum_entr": "glcm_SumEntropy",
    "cm_energy": "glcm_JointEnergy",
    "cm_contrast": "glcm_Contrast",
    "cm_inv_diff": "glcm_Id",
    "cm_inv_diff_norm": "glcm_Idn",
    "cm_inv_diff_mom": "glcm_Idm",
    "cm_inv_diff_mom_norm": "glcm_Idmn",
    "cm_inv_var": "glcm_InverseVariance",
    "cm_corr": "glcm_Correlation",
    "cm_auto_corr": "glcm_Autocorrelation",
    "cm_clust_tend": "glcm_ClusterTendency",
    "cm_clust_shade": "glcm_ClusterShade",
    "cm_clust_prom": "glcm_ClusterProminence",
    "cm_info_corr1": "glcm_Imc1",
    "cm_info_corr2": "glcm_Imc2",
    "rlm_sre": "glrlm_ShortRunEmphasis",
    "rlm_lre": "glrlm_LongRunEmphasis",
    "rlm_lgre": "glrlm_LowGrayLevelRunEmphasis",
    "rlm_hgre": "glrlm_HighGrayLevelRunEmphasis",
    "rlm_srlge": "glrlm_ShortRunLowGrayLevelEmphasis",
    "rlm_srhge": "glrlm_ShortRunHighGrayLevelEmphasis",
    "rlm_lrlge": "glrlm_LongRunLowGrayLevelEmphasis",
    "rlm_lrhge": "glrlm_LongRunHighGrayLevelEmphasis",
    "rlm_glnu": "glrlm_GrayLevelNonUniformity",
    "rlm_glnu_norm": "glrlm_GrayLevelNonUniformityNormalized",
    "rlm_rlnu": "glrlm_RunLengthNonUniformity",
    "rlm_rlnu_norm": "glrlm_RunLengthNonUniformityNormalized",
    "rlm_r_perc": "glrlm_RunPercentage",
    "rlm_gl_var": "glrlm_GrayLevelVariance",
    "rlm_rl_var": "glrlm_RunVariance",
    "rlm_rl_entr": "glrlm_RunEntropy",
    "szm_sze": "glszm_SmallAreaEmphasis",
    "szm_lze": "glszm_LargeAreaEmphasis",
    "szm_lgze": "glszm_LowGrayLevelZoneEmphasis",
    "szm_hgze": "glszm_HighGrayLevelZoneEmphasis",
    "szm_szlge": "glszm_SmallAreaLowGrayLevelEmphasis",
    "szm_szhge": "glszm_SmallAreaHighGrayLevelEmphasis",
    "szm_lzlge": "glszm_LargeAreaLowGrayLevelEmphasis",
    "szm_lzhge": "glszm_LargeAreaHighGrayLevelEmphasis",
    "szm_glnu": "glszm_GrayLevelNonUniformity",
    "szm_glnu_norm": "glszm_GrayLevelNonUniformityNormalized",
    "szm_zsnu": "glszm_SizeZoneNonUniformity",
    "szm_zsnu_norm": "glszm_SizeZoneNonUniformityNormalized",
    "szm_z_perc": "glszm_ZonePercentage",
    "szm_gl_var": "glszm_GrayLevelVariance",
    "szm_zs_var": "glszm_ZoneVariance",
    "szm_zs_entr": "glszm_ZoneEntropy",
    "ngt_coarseness": "ngtdm_Coarseness",
    "ngt_contrast": "ngtdm_Contrast",
    "ngt_busyness": "ngtdm_Busyness",
    "ngt_complexity": "ngtdm_Complexity",
    "ngt_strength": "ngtdm_Strength",
    "ngl_lde": "gldm_SmallDependenceEmphasis",
    "ngl_hde": "gldm_LargeDependenceEmphasis",
    "ngl_lgce": "gldm_LowGrayLevelEmphasis",
    "ngl_hgce": "gldm_HighGrayLevelEmphasis",
    "ngl_ldlge": "gldm_SmallDependenceLowGrayLevelEmphasis",
    "ngl_ldhge": "gldm_SmallDependenceHighGrayLevelEmphasis",
    "ngl_hdlge": "gldm_LargeDependenceLowGrayLevelEmphasis",
    "ngl_hdhge": "gldm_LargeDependenceHighGrayLevelEmphasis",
    "ngl_glnu": "gldm_GrayLevelNonUniformity",
    "ngl_dcnu": "gldm_DependenceNonUniformity",
    "ngl_dcnu_norm": "gldm_DependenceNonUniformityNormalized",
    "ngl_gl_var": "gldm_GrayLevelVariance",
    "ngl_dc_var": "gldm_DependenceVariance",
    "ngl_dc_entr": "gldm_DependenceEntropy",
}
"""IBSI's name of each of our features that IBSI 1 defines, without the aggregation."""

AGGREGATED = ("cm_", "rlm_")
"""Matrices of each direction: our features are averages over directions."""


@dataclass(frozen=True)
class Phantom:
    """A data set of IBSI 1 and how our features are computed on it.

    Attributes
    ----------
    title, reference, sheet
        Its name; its file of reference values; its sheet of pyradiomics' submission.
    suffix
        The textures' aggregation in IBSI's tags: ``3D`` or ``2_5D``.
    values
        Our features by name.
    """

    title: str
    reference: str
    sheet: str
    suffix: str
    values: dict[str, float]


@dataclass(frozen=True)
class Row:
    """One comparison."""

    tag: str
    feature: str
    reference: str
    tolerance: str
    value: float
    submitted: float | None
    outcome: str
    reason: str


def read(path: Path) -> SimpleITK.Image:
    """Read a NIfTI image."""
    return SimpleITK.ReadImage(str(path))


def digital_phantom(data: Path, *, force_2d: bool) -> Phantom:
    """Compute on the digital phantom: grey levels are intensities, voxels of 2 mm.

    Parameters
    ----------
    data
        Folder of IBSI's data set.
    force_2d
        Neighbours within slices (2.5-D) instead of in space.

    Returns
    -------
    Phantom
    """
    folder = data / "digital_phantom" / "nifti"
    image = read(folder / "image" / "phantom.nii.gz")
    intensities = np.rint(SimpleITK.GetArrayFromImage(image)).astype(np.int16)
    mask = SimpleITK.GetArrayFromImage(read(folder / "mask" / "mask.nii.gz")) > 0
    values = features(intensities, mask, mask, image.GetSpacing(), force_2d=force_2d, bin_width=1)
    layout = "2.5-D: neighbours within slices" if force_2d else "3-D"
    suffix = "2_5D" if force_2d else "3D"
    return Phantom(f"Digital phantom, {layout}", "ibsi_1_dig_phantom.csv", "digital phantom", suffix, values)


def ct_phantom(data: Path, configuration: str, *, bins_from: float | None = None) -> Phantom:
    """Compute on the CT phantom: trilinear to 2 mm, whole HU; C: -1000 to 400 HU, bins of 25; D: 3 sigma, 32 bins.

    Parameters
    ----------
    data
        Folder of IBSI's data set.
    configuration
        IBSI's: ``C`` or ``D``.
    bins_from
        HU from which bins are counted; pyradiomics' multiple of 25 below the minimum where None.

    Returns
    -------
    Phantom
    """
    folder = data / "ct_phantom" / "nifti"
    image = read(folder / "image" / "phantom.nii.gz")
    label = SimpleITK.Cast(read(folder / "mask" / "mask.nii.gz") > 0, SimpleITK.sitkFloat64)
    hu = np.rint(interpolate(SimpleITK.Cast(image, SimpleITK.sitkFloat64)))
    whole = interpolate(label) >= 0.5
    inside = hu[whole]
    bins: dict[str, int]
    if configuration == "C":
        low, high, bins = -1000.0, 400.0, {"bin_width": 25}
        rule = "-1000 to 400 HU, bins of 25 HU"
    else:
        low, high, bins = inside.mean() - 3 * inside.std(), inside.mean() + 3 * inside.std(), {"bin_count": 32}
        rule = "3 standard deviations, 32 bins"
    kept = whole & (hu >= low) & (hu <= high)
    shift = 0
    if bins_from is not None:
        shift = int((hu[kept].min() - bins_from) // bins["bin_width"])
        rule += f", counted from {bins_from:g} HU as IBSI asks (not as pyradiomics does)"
    values = features(hu.astype(np.int16), whole, kept, (2.0, 2.0, 2.0), force_2d=False, grey_level_shift=shift, **bins)
    return Phantom(
        f"CT phantom, configuration {configuration}: 3-D, 2 mm, {rule}",
        f"ibsi_1_chest_config_{configuration.lower()}.csv",
        f"config {configuration}",
        "3D",
        values,
    )


def interpolate(image: SimpleITK.Image) -> NDArray[np.float64]:
    """Interpolate trilinearly to 2 mm on the grid that IBSI prescribes: centred on the image."""
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    new_size = np.ceil(size * spacing / 2).astype(int)
    first = ((size - 1) * spacing - (new_size - 1) * 2) / 2
    direction = np.array(image.GetDirection()).reshape(3, 3)
    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize(new_size.tolist())
    resample.SetOutputSpacing((2.0, 2.0, 2.0))
    resample.SetOutputOrigin((np.array(image.GetOrigin()) + direction @ first).tolist())
    resample.SetOutputDirection(image.GetDirection())
    resample.SetInterpolator(SimpleITK.sitkLinear)
    resample.SetDefaultPixelValue(-1000)
    return SimpleITK.GetArrayFromImage(resample.Execute(image))


def features(
    image: NDArray[np.int16],
    whole: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    spacing: tuple[float, ...],
    *,
    force_2d: bool,
    grey_level_shift: int = 0,
    **bins: Any,
) -> dict[str, float]:
    """Compute our features: shape on the whole mask, the others on the voxels kept.

    Parameters
    ----------
    image
        Intensities, shape (z, y, x).
    whole
        The mask, same shape.
    kept
        The mask without voxels outside the range of intensities, same shape.
    spacing
        Along x, y, z, mm.
    force_2d
        Neighbours within slices.
    grey_level_shift
        Bins between IBSI's first and ours.
    **bins
        ``bin_width`` or ``bin_count``.

    Returns
    -------
    dict[str, float]
        By ``class_Feature``.
    """
    depth, height, width = spacing[::-1]
    crop = Crop.around(image, kept, 0)
    region = Region.of(crop.mask, spacing=(depth, height, width), force_2d=force_2d)
    voxels = crop.hu[crop.mask]
    values = image_features(voxels, region, **bins)
    if grey_level_shift:
        grey = discretise(voxels, **bins)
        values.update(grey_level_features(replace(grey, levels=grey.levels + grey_level_shift), region))
    own_box = Crop.around(image, whole, 0).mask
    shape = shape_features(own_box, spacing=(depth, height, width))
    values.update((f"shape_{name}", float(v)) for name, v in zip(FEATURES_BY_CLASS["shape"], shape, strict=True))
    return values


def image_features(
    values: Values, region: Region, *, bin_width: float = 25, bin_count: int | None = None
) -> dict[str, float]:
    """Evaluate every class but shape on one image, at the settings that reference values ask for.

    Parameters
    ----------
    values
        The tumour's voxels, shape (n_voxels,), in the order of ``region.mask.nonzero()``.
    region
        The tumour; in 2-D or 3-D.
    bin_width, bin_count
        pyradiomics' ``binWidth`` and ``binCount``.

    Returns
    -------
    dict[str, float]
        By ``class_Feature``.

    Raises
    ------
    ValueError
        As `discretise`.
    """
    with np.errstate(all="ignore"):
        grey = discretise(values, bin_width=bin_width, bin_count=bin_count)
        row = first_order_features(values, grey, spacing=region.spacing)
        found = {f"firstorder_{name}": float(v) for name, v in zip(FEATURES_BY_CLASS["firstorder"], row, strict=True)}
        return found | grey_level_features(grey, region)


def grey_level_features(grey: GreyLevels, region: Region) -> dict[str, float]:
    """Evaluate the texture classes on one image.

    Parameters
    ----------
    grey
        The discretised image.
    region
        Where the voxels lie.

    Returns
    -------
    dict[str, float]
        By ``class_Feature``.
    """
    matrices = texture_matrices(grey, region)
    return {
        f"{family}_{name}": float(value)
        for family in ("glcm", "gldm", "glrlm", "glszm", "ngtdm")
        for name, value in zip(FEATURES_BY_CLASS[family], texture_features(family, [matrices])[0], strict=True)
    }


def reason_for(phantom: Phantom, tag: str) -> str:
    """Return why pyradiomics deviates, where that is known.

    Parameters
    ----------
    phantom
        Phantom and configuration.
    tag
        IBSI's name of the feature.

    Returns
    -------
    str
        Empty where no reason is known.
    """
    if tag == "stat_kurt":
        return "pyradiomics does not subtract 3 (documented)"
    if tag in ("morph_pca_min_axis", "morph_pca_least_axis"):
        return "pyradiomics divides the covariance by N, IBSI by N - 1: 0.7 % for this phantom's 74 voxels"
    if (
        "configuration C" in phantom.title
        and "counted from" not in phantom.title
        and tag.startswith(("cm_", "rlm_", "szm_", "ngt_", "ngl_"))
    ):
        return "pyradiomics' bins start at the multiple of 25 below the minimum, IBSI's at -1000 HU (documented)"
    return ""


def compare_with_reference(phantom: Phantom, data: Path, submission: dict[str, float]) -> Iterator[Row]:
    """Compare a phantom's values with its reference values, in their order.

    Parameters
    ----------
    phantom
        With our values.
    data
        Folder of IBSI's data set, with the reference values.
    submission
        pyradiomics' own values by IBSI's names.

    Yields
    ------
    Row
        One feature.
    """
    with (data / "reference_values" / phantom.reference).open(encoding="utf-8-sig", newline="") as file:
        references = {row["tag"]: row for row in csv.DictReader(file, delimiter=";")}
    for short, feature in TAGS.items():
        family = short.split("_")[0]
        tag = short
        if family in ("cm", "rlm", "szm", "ngt", "ngl"):
            tag += f"_{phantom.suffix}" + ("_avg" if short.startswith(AGGREGATED) else "")
        elif phantom.suffix == "2_5D":
            continue  # first order and shape are those of 3-D
        if tag not in references:
            continue
        text, tolerance = references[tag]["reference value"], references[tag]["tolerance"]
        value = phantom.values[feature]
        # Values are published to three digits; half of the last one is rounding, on top of the tolerance.
        half = 10.0 ** (np.floor(np.log10(abs(float(text)))) - 2) / 2 if float(text) else 0.0
        apart = abs(value - float(text))
        if apart <= half * (1 + 1e-9):
            outcome = "matched"
        elif apart <= (float(tolerance) if tolerance else 0.0) + half:
            outcome = "within tolerance"
        else:
            outcome = "deviating"
        reason = reason_for(phantom, short) or "unexplained"
        yield Row(
            tag, feature, text, tolerance, value, submission.get(tag), outcome, reason if outcome == "deviating" else ""
        )


def read_submission(path: Path) -> dict[str, dict[str, float]]:
    """Read what pyradiomics submitted to IBSI in 2018, by sheet and tag; nothing without openpyxl."""
    try:
        openpyxl = importlib.import_module("openpyxl")
    except ImportError:
        return {}
    book = openpyxl.load_workbook(path, data_only=True, read_only=True)
    found: dict[str, dict[str, float]] = {}
    for sheet in book:
        header, *rows = sheet.iter_rows(values_only=True)
        columns = {name: index for index, name in enumerate(header)}
        found[sheet.title] = {
            str(row[columns["tag"]]): float(row[columns["your_result"]])
            for row in rows
            if isinstance(row[columns["your_result"]], int | float)
        }
    return found


def ibsi_report(data: Path) -> str:
    """Compute and compare everything; return the page."""
    submissions = read_submission(data / "pyradiomics_submission_20181005.xlsx")
    phantoms = [
        digital_phantom(data, force_2d=False),
        digital_phantom(data, force_2d=True),
        ct_phantom(data, "C"),
        ct_phantom(data, "C", bins_from=-1000),
        ct_phantom(data, "D"),
    ]
    summary = [
        "| data set | compared | matched | within tolerance | deviating |",
        "|---|--:|--:|--:|--:|",
    ]
    tables: list[str] = []
    deviating: list[str] = []
    for phantom in phantoms:
        rows = list(compare_with_reference(phantom, data, submissions.get(phantom.sheet, {})))
        counts = Counter(row.outcome for row in rows)
        summary.append(
            f"| {phantom.title} | {len(rows)} | {counts['matched']} | {counts['within tolerance']} "
            f"| {counts['deviating']} |"
        )
        deviating += [
            f"| {phantom.title.split(':')[0]} | {row.feature} | `{row.tag}` | {row.reference} | {row.value:.6g} "
            f"| {'' if row.submitted is None else f'{row.submitted:.6g}'} | {row.reason} |"
            for row in rows
            if row.outcome == "deviating"
        ]
        tables += [
            f"### {phantom.title}",
            "",
            "| feature | IBSI tag | reference | tolerance | ours | pyradiomics' submission, 2018 | |",
            "|---|---|--:|--:|--:|--:|---|",
            *(
                f"| {row.feature} | `{row.tag}` | {row.reference} | {row.tolerance} | {row.value:.6g} "
                f"| {'' if row.submitted is None else f'{row.submitted:.6g}'} | {row.outcome} |"
                for row in rows
            ),
            "",
        ]
    return "\n".join(
        [
            "# Our features against the IBSI 1 reference values",
            "",
            "Written by `python -m benchmarks.ibsi`; the same functions compute these values and the method's. The "
            "method itself bins at 25 HU from a multiple of 25 and looks for neighbours within slices, which IBSI calls "
            "2.5-D; the phantoms below ask for their own settings. *Matched*: equal to the reference as published, to "
            "three digits. *Within tolerance*: apart by no more than IBSI's tolerance. MCC, Total Energy and the 2-D "
            "diameters are not defined by IBSI 1. First order and shape do not depend on neighbours and stand under 3-D. "
            "Configuration C appears twice: the second time grey levels are counted as IBSI counts them, to show that "
            "nothing else is behind the deviations.",
            "",
            *summary,
            "",
            "## What deviates, and why",
            "",
            "| data set | feature | IBSI tag | reference | ours | pyradiomics' submission, 2018 | why |",
            "|---|---|---|--:|--:|--:|---|",
            *deviating,
            "",
            "## All values",
            "",
            *tables,
        ]
    )


def main() -> None:
    """Read the command line; write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PDL1ES_SHARED_DATA")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None, required=data is None)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "ibsi.md")
    arguments = parser.parse_args()
    text = ibsi_report(arguments.data / "ibsi1")
    arguments.output.write_text(text, encoding="utf-8")
    print(text[: text.index("## All values")])


if __name__ == "__main__":
    main()

"""Other packages beside this one and pyradiomics: the nearest setting that each has, and what differs.

Run from the repository, in an environment that holds them too (``pip install -r benchmarks/requirements.txt``)::

    python -m benchmarks.peers [--repeats 3] [--output benchmarks/results/peers.md]

One process runs all of them in turn on synthetic tumours of 3 and 30 mL, after one run of each that is not counted;
processor time is compared, since other work on the machine disturbs it least. A package that cannot be imported is told
with the reason.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent

# BLAS on one thread, for all, as benchmarks.radiomics has it: numpy must not be imported before.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import SimpleITK  # noqa: E402
import yaml  # noqa: E402

from benchmarks.radiomics import Case, compare_times, machine, ours_on_one_thread, stock, synthetic_case  # noqa: E402
from pdl1es.features.extraction import extract_radiomics  # noqa: E402
from pdl1es.features.names import FEATURE_NAMES  # noqa: E402
from pdl1es.features.settings import SETTINGS  # noqa: E402
from pdl1es.features.settings_file import radiomics_settings_text  # noqa: E402
from pdl1es.grid.bounding_box import bounding_box  # noqa: E402

SIZES_ML = (3, 30)
Values = dict[str, float]
"""Features by name; what pyradiomics names too bears its name."""
Tool = Callable[[Case], Callable[[], Values]]


class Peer(NamedTuple):
    """A package: how it is set, how many images its features are of, and what differs from the method."""

    module: str
    prepare: Tool
    images: str
    differs: str


def _cropped(case: Case, margin: int) -> tuple[Any, Any]:
    box = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in bounding_box(case.mask))
    return case.hu[box].astype(np.float64), case.mask[box]


def mirp(case: Case) -> Callable[[], Values]:
    """Set mirp to 13 of the 14 images (it has no gradient magnitude), 2.5-D textures, pyradiomics' bins of 25."""
    extract = importlib.import_module("mirp").extract_features
    families = ["statistics", "intensity_histogram", "glcm", "ngldm", "glrlm", "glszm", "ngtdm"]
    settings: dict[str, Any] = {
        "image_modality": "ct",
        "by_slice": True,
        "ibsi_compliant": False,
        "base_feature_families": ["morphology", *families],
        "base_discretisation_method": "fixed_bin_size_pyradiomics",
        "base_discretisation_bin_width": 25.0,
        "response_map_feature_families": families,
        "response_map_discretisation_method": "fixed_bin_size_pyradiomics",
        "response_map_discretisation_bin_width": 25.0,
        "glcm_spatial_method": "2.5d_direction_merge",
        "glrlm_spatial_method": "2.5d_direction_merge",
        "glszm_spatial_method": "2.5d",
        "ngtdm_spatial_method": "2.5d",
        "ngldm_spatial_method": "2.5d",
        "filter_kernels": [
            "separable_wavelet",
            "laplacian_of_gaussian",
            "pyradiomics_square",
            "pyradiomics_square_root",
            "pyradiomics_logarithm",
            "pyradiomics_exponential",
            "lbp_2d",
        ],
        "separable_wavelet_families": "coif1",
        "separable_wavelet_set": ["hh", "hl", "lh", "ll"],
        "separable_wavelet_rotation_invariance": False,
        "laplacian_of_gaussian_sigma": [1.0, 2.0, 3.0],
        "write_features": False,
        "export_features": True,
    }

    def run() -> Values:
        (table,) = extract(image=case.hu.astype(np.float64), mask=case.mask.astype(int), **settings)
        return dict.fromkeys(table.columns, np.nan)

    return run


def nyxus(case: Case) -> Callable[[], Values]:
    """Set nyxus to its 3-D features of the one unfiltered image: it has no filters of 3-D images; one thread, NIfTI."""
    folder = tempfile.TemporaryDirectory()
    for name, array in (("intensities", (case.hu.astype(np.int32) + 1024).clip(0)), ("labels", case.mask)):
        (Path(folder.name) / name).mkdir()
        dtype = np.uint8 if name == "labels" else np.uint16
        path = Path(folder.name) / name / "tumour.nii.gz"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array.astype(dtype)), str(path))
    tool = importlib.import_module("nyxus").Nyxus3D(["*3D_ALL*"], n_feature_calc_threads=1, coarse_gray_depth=64)

    def run() -> Values:
        table = tool.featurize_directory(f"{folder.name}/intensities/", f"{folder.name}/labels/", r".*\.nii\.gz")
        return dict.fromkeys((column for column in table.columns if column.startswith("3")), np.nan)

    return run


def flash_radiomics(case: Case) -> Callable[[], Values]:
    """Give flash-radiomics the method's own settings file; processor, one thread; it always writes HDF5."""
    module = importlib.import_module("flash_radiomics")
    folder = tempfile.TemporaryDirectory()
    settings = yaml.safe_load(radiomics_settings_text())
    extractor = module.RadiomicsFeatureExtractor(settings, backend="cpu", num_threads=1)
    image, mask = SimpleITK.GetImageFromArray(case.hu), SimpleITK.GetImageFromArray(case.mask.astype(np.uint8))

    def run() -> Values:
        path = Path(folder.name) / "case.h5"
        path.unlink(missing_ok=True)
        found = extractor.execute(image, mask, output_hdf5_path=str(path), case_id="case")
        # It names the sigmas of LoG without decimals.
        return {
            name.replace("-mm-3D", "-0-mm-3D") if "-0-mm" not in name else name: float(np.squeeze(value))
            for name, value in found.items()
            if not name.startswith("diagnostics")
        }

    return run


def numpyradiomics(case: Case) -> Callable[[], Values]:
    """Set numpyradiomics to the one unfiltered image: its public functions have no filters and no 2-D neighbours."""
    module = importlib.import_module("numpyradiomics")
    hu, mask = _cropped(case, 1)
    width = SETTINGS.setting.bin_width

    def run() -> Values:
        label = mask.astype(int)
        found = {f"original_shape_{name}": value for name, value in module.shape(label).items()}
        found |= {f"original_firstorder_{name}": value for name, value in module.firstorder(hu, label).items()}
        found |= {f"original_{name}": value for name, value in module.texture(hu, label, binWidth=width).items()}
        return {name: float(np.squeeze(value)) for name, value in found.items()}

    return run


def zrad(case: Case) -> Callable[[], Values]:
    """Set z-rad to 8 of the images: original, three LoG, four wavelets; 2.5-D textures, bins of 25."""
    image_class = importlib.import_module("zrad.image").Image
    steps = importlib.import_module("zrad.preprocessing")
    laplacian = importlib.import_module("zrad.filtering.spatial").LoG
    wavelet = importlib.import_module("zrad.filtering.wavelet").Wavelets2D
    extractor = importlib.import_module("zrad.radiomics").Radiomics(aggr_dim="2.5D", aggr_method="DIR_MERG")
    hu, mask = _cropped(case, SETTINGS.setting.pad_distance)
    image = image_class._from_sitk_image(SimpleITK.GetImageFromArray(hu))
    label = image_class._from_sitk_image(SimpleITK.GetImageFromArray(mask.astype(np.uint8)))
    filters: dict[str, Any] = {"original": None}
    filters |= {f"log-{sigma:g}": laplacian("nearest", sigma, 4, "3D") for sigma in (1.0, 2.0, 3.0)}
    filters |= {f"wavelet-{name}": wavelet("coif1", "wrap", name, 1) for name in ("LL", "LH", "HL", "HH")}
    families = ["intensity_statistics", "intensity_histogram", "glcm", "glrlm", "glszm", "ngtdm", "ngldm"]

    def run() -> Values:
        found: Values = {}
        for name, function in filters.items():
            filtered = None if function is None else function.apply(image)
            roi = steps.RoiData(image=image, morphological_mask=label, filtered_image=filtered)
            roi = steps.IntensityMaskBuilder().apply(roi)
            width = SETTINGS.setting.bin_width
            # Its bins begin at the range's lower end; pyradiomics' begin at a multiple of their width.
            roi.intensity_range = (float(np.floor(np.nanmin(roi.intensity_mask.array) / width) * width), np.inf)
            roi = steps.TextureDiscretizer(bin_size=width).apply(roi)
            wanted = [*families, "morphology"] if function is None else families
            features = extractor.extract_features(roi, families=wanted)
            found |= {f"{name}_{feature}": float(value) for feature, value in features.items()}
        return found

    return run


PEERS = {
    "mirp": Peer(
        "mirp", mirp, "13", "IBSI's feature set (names of its own); its own LoG and LBP; no gradient magnitude"
    ),
    "nyxus": Peer("nyxus", nyxus, "1", "3-D neighbours, 64 grey levels, features of its own; reads NIfTI"),
    "flash-radiomics": Peer(
        "flash_radiomics",
        flash_radiomics,
        "14",
        "pyradiomics' names; SquareRoot, Logarithm, Exponential, Gradient and LBP are other images; writes HDF5",
    ),
    "numpyradiomics": Peer("numpyradiomics", numpyradiomics, "1", "pyradiomics' names; 3-D neighbours only"),
    "z-rad": Peer(
        "zrad",
        zrad,
        "8",
        "IBSI's feature set (names of its own); LoG by a truncated kernel; no point-wise images, gradient, LBP",
    ),
}
NOT_RUN = {
    "pyradiomics-cuda": "a source package whose build needs the CUDA compiler and whose shape features need a GPU; the "
    "rest is pyradiomics' own code",
}
PACKAGES = ("mirp", "nyxus", "flash-radiomics", "numpyradiomics", "z-rad")


def equal_values(case: Case, found: Values) -> str:
    """Say how many of a package's values are ours, to 1e-6.

    Parameters
    ----------
    case
        Image and mask.
    found
        What the package gave; values that do not bear one of pyradiomics' names are left out.

    Returns
    -------
    str
        "-" where none bears such a name.
    """
    ours = dict(zip(FEATURE_NAMES, extract_radiomics(case.hu, case.mask).values, strict=True))
    common = [name for name in found if name in ours]
    if not common:
        return "-"
    equal = sum(bool(np.isclose(found[name], ours[name], rtol=1e-6, atol=1e-9, equal_nan=True)) for name in common)
    return f"{equal} of {len(common)}"


def peers_report(repeats: int) -> str:
    """Run all that can be imported, and return the tables as Markdown."""
    absent = dict(NOT_RUN)
    present = {}
    for name, peer in PEERS.items():
        try:
            importlib.import_module(peer.module)
            present[name] = peer
        except (ImportError, OSError) as error:
            absent[name] = str(error)
    load = os.getloadavg()[0]
    lines = [
        "# Feature extraction: other packages",
        "",
        f"Machine: {machine(PACKAGES)}; load {load:.1f} at the start.",
        "",
        f"`python -m benchmarks.peers`: the packages take turns in one process, {repeats} rounds after one that is not "
        "counted; one that takes over 20 s runs once. Medians, one thread. *Equal* counts the values that bear one of "
        "pyradiomics' names and are this project's to 1e-6. *Images*: of how many of the 14 images the features are.",
        "",
        "| tumour | package | images | features | wall, s | processor, s | processor / ours | equal |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for volume in SIZES_ML:
        case = synthetic_case(volume)
        found: dict[str, Values] = {}

        def counted(name: str, run: Callable[[], Values], found: dict[str, Values] = found) -> Callable[[], int]:
            def execute() -> int:
                found[name] = run()
                return len(found[name])

            return execute

        runs = {"ours": ours_on_one_thread(case), "pyradiomics, preCrop": stock(case)}
        runs |= {name: counted(name, peer.prepare(case)) for name, peer in present.items()}
        timings = compare_times(runs, repeats)
        ours = statistics.median(timings["ours"].cpu)
        for name, timing in timings.items():
            images = PEERS[name].images if name in PEERS else "14"
            equal = equal_values(case, found[name]) if name in found else "1316 of 1316"
            cpu = statistics.median(timing.cpu)
            lines.append(
                f"| {case.name} | {name} | {images} | {timing.features} | {statistics.median(timing.wall):.3f} "
                f"| {cpu:.3f} | {cpu / ours:.1f} | {equal} |"
            )
    lines += [
        "",
        "What differs from the method:",
        "",
        *(f"- *{name}*: {peer.differs}." for name, peer in PEERS.items()),
    ]
    lines += ["", *(f"Not measured: {name}: {reason}." for name, reason in absent.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line; write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="rounds that count")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "peers.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    text = peers_report(arguments.repeats)
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""The whole chain side by side with the same job done the stock way, on one study and on it with 400 more slices.

Run from the repository, in the training's environment (the stock way needs torch and monai)::

    python -m benchmarks.study STUDY [--repeats 5] [--output benchmarks/results/study.md]

*Ours* is ``app.run.run_study``. *Stock* is what a reader of the libraries' examples would write: MONAI Deploy's
``DICOMDataLoaderOperator``, ``DICOMSeriesSelectorOperator`` and ``DICOMSeriesToVolumeOperator``, highdicom for the SEG,
SimpleITK resampling the whole volume to 1 mm, pyradiomics' own ``execute`` at the method's settings, and the network in
torch; it writes one uncoded text, as MONAI Deploy's SR writer does. Each run is a process of its own: its first job is *cold* (imports, model,
files that the process has not seen), the following ones are *warm*. Processes alternate, so that whatever else the
machine does meets both alike.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import logging
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
MORE_SLICES = 400


@dataclass
class Job:
    """One way to score a study: prepared once, run often."""

    run: Callable[[Path, Path], dict[str, float]]


@contextlib.contextmanager
def lap(seconds: dict[str, float], name: str) -> Any:
    """Keep the wall time of the block.

    Parameters
    ----------
    seconds
        Gets the time.
    name
        Its key there.

    Yields
    ------
    None
        The block runs.
    """
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def our_job() -> Job:
    """Return the chain as it ships."""
    from app.run import run_study
    from pdl1es.command_line.process import prepare_process
    from pdl1es.settings import DEFAULT_FILE, load_settings

    prepare_process("ERROR")
    settings = load_settings(DEFAULT_FILE).model_copy(update={"contour_stability": "off"})  # the stock way has none

    def run(study: Path, output: Path) -> dict[str, float]:
        outcome = run_study(study, output, settings=settings, model_folder=REPOSITORY / "models")
        if outcome.exit_code != 0 or outcome.result is None:
            raise SystemExit(f"our chain ended with {outcome.exit_code}: {outcome.refusal}")
        return dict(outcome.result.seconds)

    return Job(run)


def stock_job() -> Job:
    """Return the same job with the libraries' own parts."""
    import highdicom
    import numpy as np
    import pydicom
    import SimpleITK
    import torch
    from monai.deploy.core import Application
    from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
    from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
    from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator
    from monai.networks.nets import DenseNet121
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    import pdl1es.features

    logging.disable(logging.WARNING)
    fragment = Application([])
    rules = json.dumps({"selections": [{"name": "CT", "conditions": {"Modality": "CT"}}]})
    torch.manual_seed(0)
    network = DenseNet121(spatial_dims=2, in_channels=1, out_channels=2).eval()
    settings = Path(pdl1es.features.__file__).parent / "settings.yaml"

    def run(study: Path, output: Path) -> dict[str, float]:
        seconds: dict[str, float] = {}
        with lap(seconds, "study_loader"):
            loader = DICOMDataLoaderOperator(fragment, input_folder=study, output_name="studies", name="loader")
            studies = loader.load_data_to_studies(study)
        with lap(seconds, "series_selection"):
            selector = DICOMSeriesSelectorOperator(fragment, rules=rules, name="selector")
            selected = selector.filter(json.loads(rules), studies)
        with lap(seconds, "series_to_volume"):
            to_volume = DICOMSeriesToVolumeOperator(fragment, affine_lps_to_ras=False, name="volume")
            image = to_volume.convert_to_image(selected)
            assert image is not None
            voxels = image.asnumpy()
            affine = np.asarray(image.metadata()["dicom_affine_transform"])
        with lap(seconds, "segmentation"):
            seg_file = next(p for p in study.rglob("*") if p.is_file() and _modality(p) == "SEG")
            segmentation = highdicom.seg.segread(seg_file)
            volume = segmentation.get_volume(combine_segments=True, rescale_fractional=True)
            mask = _image(SimpleITK, volume.array.astype("uint8"), volume.affine)
        with lap(seconds, "resample"):
            spacing = np.linalg.norm(affine[:3, :3], axis=0)
            ct = SimpleITK.GetImageFromArray(np.asarray(voxels, np.int16))
            ct.SetSpacing([float(value) for value in spacing])
            ct.SetDirection([float(value) for value in (affine[:3, :3] / spacing).ravel()])
            ct.SetOrigin([float(value) for value in affine[:3, 3]])
            fine = SimpleITK.ResampleImageFilter()
            fine.SetOutputSpacing((1.0, 1.0, 1.0))
            fine.SetSize([round(n * s) for n, s in zip(ct.GetSize(), ct.GetSpacing(), strict=True)])
            fine.SetOutputOrigin(ct.GetOrigin())
            fine.SetOutputDirection(ct.GetDirection())
            fine.SetDefaultPixelValue(-1024)
            fine.SetInterpolator(SimpleITK.sitkLinear)
            ct = fine.Execute(ct)
            fine.SetDefaultPixelValue(0)
            fine.SetInterpolator(SimpleITK.sitkNearestNeighbor)
            mask = fine.Execute(mask)
        with lap(seconds, "roi_patches"):
            tumour = SimpleITK.GetArrayViewFromImage(mask) > 0
            hu = SimpleITK.GetArrayViewFromImage(ct)
            z = int(tumour.sum(axis=(1, 2)).argmax())
            rows, columns = np.where(tumour[z].any(axis=1))[0], np.where(tumour[z].any(axis=0))[0]
            box = (slice(max(rows[0] - 5, 0), rows[-1] + 6), slice(max(columns[0] - 5, 0), columns[-1] + 6))
            patches = torch.nn.functional.interpolate(
                torch.from_numpy(np.asarray(hu[z - 1 : z + 2, box[0], box[1]], np.float32))[:, None], size=(112, 112)
            )
        with lap(seconds, "radiomics"):
            features = RadiomicsFeatureExtractor(str(settings)).execute(ct, mask)
        with lap(seconds, "fusion_model"), torch.no_grad():
            probability = float(network(patches).softmax(1)[:, 1].mean())
        with lap(seconds, "structured_report"):
            _text_report(study, output, f"PD-L1ES {probability:.3f}, {len(features)} features", pydicom)
        return seconds

    return Job(run)


def _modality(path: Path) -> str:
    import pydicom

    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"]).get("Modality", ""))
    except pydicom.errors.InvalidDicomError:
        return ""


def _image(sitk: Any, array: Any, affine: Any) -> Any:
    """Return highdicom's volume (axes in the order of its affine's columns) as a SimpleITK image."""
    import numpy as np

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing([float(value) for value in spacing[::-1]])
    image.SetDirection([float(value) for value in (affine[:3, :3] / spacing)[:, ::-1].ravel()])
    image.SetOrigin([float(value) for value in affine[:3, 3]])
    return image


def _text_report(study: Path, output: Path, text: str, pydicom: Any) -> None:
    """Write what MONAI Deploy's text SR writer writes: one uncoded text."""

    source = pydicom.dcmread(
        next(p for p in sorted(study.rglob("*")) if p.is_file() and _modality(p) == "CT"), stop_before_pixels=True
    )
    report = pydicom.Dataset()
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
        setattr(report, keyword, source.get(keyword))
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SOPInstanceUID = pydicom.uid.generate_uid()
    report.SeriesInstanceUID = pydicom.uid.generate_uid()
    report.Modality, report.TextValue = "SR", text
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    pydicom.dcmwrite(output / "text_sr.dcm", report, enforce_file_format=True)


def bytes_read() -> int:
    """Return how many bytes this process has read so far, cached or not."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    return 0


def worker(way: str, study: Path, repeats: int, started: float) -> None:
    """Run one way in this process, cold and then warm, and print what it took as JSON.

    Parameters
    ----------
    way
        ``ours`` or ``stock``.
    study
        Folder of the study.
    repeats
        Warm runs.
    started
        When this process was started, seconds since the epoch.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = our_job() if way == "ours" else stock_job()
        job.run(study, Path(folder))
        cold = time.time() - started
        warm, processor, read, steps = [], [], [], []
        for _ in range(repeats):
            before, clock, used = bytes_read(), time.perf_counter(), time.process_time()
            steps.append(job.run(study, Path(folder)))
            warm.append(time.perf_counter() - clock)
            processor.append(time.process_time() - used)
            read.append(bytes_read() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    median = {name: statistics.median(step.get(name, 0.0) for step in steps) for name in steps[0]}
    print(
        json.dumps(
            {
                "cold": cold,
                "warm": statistics.median(warm),
                "processor": statistics.median(processor),
                "read": statistics.median(read),
                "peak_kib": peak,
                "steps": median,
            }
        )
    )


@dataclass
class Measured:
    """All processes of one way on one study."""

    runs: list[dict[str, Any]] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(float(run[name]) for run in self.runs)

    def step(self, name: str) -> float | None:
        values = [run["steps"][name] for run in self.runs if name in run["steps"]]
        return statistics.median(values) if values else None


def with_more_slices(study: Path, folder: Path, count: int) -> Path:
    """Copy a study and continue its CT above and below, so that only the scan is longer.

    Parameters
    ----------
    study
        Folder of the study.
    folder
        For the copy.
    count
        Slices that are added; the first half of them below.

    Returns
    -------
    Path
        ``folder``.
    """
    import pydicom

    shutil.copytree(
        study,
        folder,
        copy_function=os.link if folder.stat().st_dev == study.stat().st_dev else shutil.copy,
        dirs_exist_ok=True,
    )
    images = [pydicom.dcmread(p) for p in sorted(study.rglob("*")) if p.is_file() and _modality(p) == "CT"]
    images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    step = float(images[1].ImagePositionPatient[2]) - float(images[0].ImagePositionPatient[2])
    below = count // 2
    for number in range(count):
        end, away = (images[0], -(number + 1)) if number < below else (images[-1], number - below + 1)
        position = [str(value) for value in end.ImagePositionPatient]
        position[2] = f"{float(end.ImagePositionPatient[2]) + away * step:.6g}"
        image = copy.deepcopy(end)
        image.ImagePositionPatient = position
        image.SOPInstanceUID = f"{end.SOPInstanceUID[:50]}.9.{number}"
        image.file_meta = end.file_meta.__class__()
        image.file_meta.update(end.file_meta)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.InstanceNumber = 1000 + number
        image.save_as(folder / f"more_{number:04d}.dcm")
    return folder


def study_table(results: dict[str, dict[str, Measured]], processes: int, repeats: int) -> str:
    """Return the figures as Markdown.

    Parameters
    ----------
    results
        By study, then by way.
    processes, repeats
        How often each was run, cold and warm.

    Returns
    -------
    str
        Markdown.
    """
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    lines = [
        "# The whole chain, side by side with the stock way",
        "",
        f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}. Medians of {processes} processes a row, alternating; "
        f"warm: the median of {repeats} runs in a process that has scored the study once, in wall time and in processor time of "
        f"all its threads. Load at the end {os.getloadavg()[0]:.1f}. Written by `python -m benchmarks.study`.",
        "",
        "| study | way | cold, s | warm, s | warm, processor s | peak memory, MiB | read warm, MiB |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for study, ways in results.items():
        lines += [
            f"| {study} | {way} | {m.median('cold'):.2f} | {m.median('warm'):.2f} | {m.median('processor'):.2f} | {m.median('peak_kib') / 1024:.0f} | {m.median('read') / 2**20:.1f} |"
            for way, m in ways.items()
        ]
        if len(ways) < 2:
            continue
        ratios = [
            ways["stock"].median(name) / ways["ours"].median(name)
            for name in ("cold", "warm", "processor", "peak_kib", "read")
        ]
        lines.append(f"| {study} | **stock / ours** | " + " | ".join(f"**{ratio:.1f}**" for ratio in ratios) + " |")
    longer, shorter = (list(results.values())[place].get("ours") for place in (1, 0))
    if longer and shorter:
        ratio = longer.median("processor") / shorter.median("processor")
        lines += ["", f"Ours with {MORE_SLICES} more slices takes {ratio:.2f} times the processor time."]
    lines += ["", "## Warm, by operator, s", ""]
    names = list(
        dict.fromkeys(
            name for ways in results.values() for m in ways.values() for run in m.runs for name in run["steps"]
        )
    )
    columns = [(study, way) for study, ways in results.items() for way in ways]
    lines.append("| operator | " + " | ".join(f"{study}, {way}" for study, way in columns) + " |")
    lines.append("|---|" + "---:|" * len(columns))
    for name in names:
        values = [results[study][way].step(name) for study, way in columns]
        lines.append(
            f"| {name.replace('_', ' ')} | "
            + " | ".join("" if value is None else f"{value:.3f}" for value in values)
            + " |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run both ways on both studies, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=("ours", "stock"), default=["ours", "stock"])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "study.md")
    parser.add_argument("--worker", choices=("ours", "stock"), help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.study, arguments.repeats, arguments.started)
        return
    with tempfile.TemporaryDirectory() as folder:
        longer = Path(folder) / "longer"
        longer.mkdir()
        studies = {
            "the study": arguments.study,
            f"with {MORE_SLICES} more slices": with_more_slices(arguments.study, longer, MORE_SLICES),
        }
        results: dict[str, dict[str, Measured]] = {
            name: {way: Measured() for way in arguments.ways} for name in studies
        }
        for _ in range(arguments.processes):
            for name, study in studies.items():
                for way, measured in results[name].items():
                    command = [sys.executable, "-m", "benchmarks.study", str(study), "--worker", way]
                    command += ["--repeats", str(arguments.repeats), "--started", str(time.time())]
                    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
                    if done.returncode != 0:
                        raise SystemExit(f"{way} failed on {name}:\n{done.stderr[-3000:]}")
                    measured.runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
                    print(
                        f"{name}, {way}: cold {measured.runs[-1]['cold']:.2f} s, warm {measured.runs[-1]['warm']:.2f} s",
                        file=sys.stderr,
                    )
    text = study_table(results, arguments.processes, arguments.repeats)
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""Seeded mutations of CT, SEG, RTSTRUCT, clinical file, settings and model, each run in a child with limits.

Only structure is changed: lengths, counts, types, order, presence, bytes that are cut off, put in or overwritten. So a study that is
still scored has the score of the whole one, or a warning that the whole one has not; else it is refused with a code, or
the file is an error of usage. Anything else is a fault. ``python -m benchmarks.fuzz`` tries thousands.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from pdl1es import chain
from pdl1es.clinical import ClinicalFileError
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.errors import Refusal
from pdl1es.features.radiomic_features import RadiomicFeatures
from pdl1es.model.fusion import FusionModel
from pdl1es.phantom.dicom import make_phantom_study
from pdl1es.report.clock import report_time
from pdl1es.settings import DEFAULT_FILE, Settings, load_settings
from pdl1es.settings_file import SettingsError
from pdl1es.shipped import shipped_path
from pdl1es.stopwatch import Stopwatch
from tests.structure_sets import Region, images_of, outlines_of_seg, structure_set, write

SECONDS: Final = 120
MEMORY_BYTES: Final = 6 * 2**30
NUMBERS: Final = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "NumberOfFrames",
)
SLICES: Final = (32, 50)
"""Slices of the phantom that are written: the tumour, and what the chain wants around it."""
SEQUENCES: Final = (
    "ReferencedFrameOfReferenceSequence",
    "StructureSetROISequence",
    "ROIContourSequence",
    "RTROIObservationsSequence",
)
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Base:
    """The whole study, and what it gives.

    Attributes
    ----------
    study, settings_file
        Where they lie.
    structure_set
        RTSTRUCT around the pixels of the study's SEG, to stand in its place.
    score, warnings
        Of the whole study, drawn in its SEG or in the RTSTRUCT.
    volume
        Its tumour on the 1 mm grid.
    features
        Of that tumour.
    model
        Loaded, with one thread, so that a fork can use it.
    """

    study: Path
    settings_file: Path
    structure_set: Path
    score: float
    warnings: frozenset[str]
    volume: bytes
    features: RadiomicFeatures
    model: FusionModel


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one mutation: its kind and number, and one of ``same``, ``warned``, ``usage``, a code, or a fault."""

    kind: str
    number: int
    what: str

    @property
    def is_fault(self) -> bool:
        """Whether it is none of the outcomes that are allowed."""
        return self.what.startswith("FAULT")


def _volume_bytes(volume: chain.TumourVolume) -> bytes:
    return volume.hu.tobytes() + np.packbits(volume.mask).tobytes()


def make_base(folder: Path) -> Base:
    """Make the whole study in a folder, and score it."""
    phantom = make_phantom_study(folder / "study", seed=0, matrix=128, slices=SLICES)
    study, images = phantom.folder, images_of(phantom.folder / "CT")
    whole = structure_set(images[0], [Region("GTV-1", outlines_of_seg(phantom.seg_path, images))])
    whole.file_meta.TransferSyntaxUID = (
        ExplicitVRLittleEndian  # as the other objects; lengths of elements are told by their VR
    )
    drawn = write(whole, folder / "rs.dcm")
    settings_file = Path(shutil.copy(DEFAULT_FILE, folder / "app.yaml"))
    model = FusionModel.load(shipped_path("models") / "pdl1es", threads=1)
    kept: list[tuple[bytes, RadiomicFeatures]] = []
    settings = load_settings(settings_file)
    score, warnings = _scored(study, settings, model, None, kept)
    base = Base(study, settings_file, drawn, score, warnings, kept[0][0], kept[0][1], model)
    (folder / "drawn").mkdir()
    of_drawn, further = _scored(_with_structure_set(base, folder / "drawn" / "study"), settings, model, base, [])
    if of_drawn != score:
        raise ValueError(f"the RTSTRUCT scores {of_drawn}, the SEG {score}")
    return replace(base, warnings=warnings | further)


def _with_structure_set(base: Base, study: Path) -> Path:
    """Copy the whole study with its RTSTRUCT in the SEG's place."""
    shutil.copytree(base.study, study, ignore=shutil.ignore_patterns("SEG"))
    (study / "RTSTRUCT").mkdir()
    shutil.copy(base.structure_set, study / "RTSTRUCT" / "rs.dcm")
    return study


def _scored(
    study: Path, settings: Settings, model: FusionModel, base: Base | None, kept: list[tuple[bytes, RadiomicFeatures]]
) -> tuple[float, frozenset[str]]:
    """Run the chain; features are computed only where the tumour is another one than the whole study's."""
    original = chain.compute_features

    def features(
        volume: chain.TumourVolume, *, memory_bytes: int | None = None, threads: int | None = None
    ) -> RadiomicFeatures:
        content = _volume_bytes(volume)
        if base is not None and content == base.volume:
            return base.features
        found = original(volume, memory_bytes=memory_bytes, threads=threads)
        kept.append((content, found))
        return found

    chain.compute_features = features
    try:
        request = chain.RunRequest(study, settings, report_time({"SOURCE_DATE_EPOCH": "0"}))
        with silenced_pydicom():
            loaded = chain.load_study(study, settings.limits)
            found = chain.assess_study(loaded, request, model, Stopwatch())
    finally:
        chain.compute_features = original
    return found.prediction.score, frozenset(warning.code for warning in found.warnings)


# --- The mutations ---


def _bytes(file: Path, rng: Rng, within: int) -> None:
    """Cut off, put in, take out or overwrite bytes; ``within``: how many of the first bytes may be hit."""
    content = bytearray(file.read_bytes())
    end = min(within, len(content))
    place = int(rng.integers(end))
    what = rng.integers(4)
    if what == 0:
        del content[place:]
    elif what == 1:
        content[place:place] = rng.bytes(int(rng.integers(1, 9)))
    elif what == 2:
        del content[place : place + int(rng.integers(1, 9))]
    else:
        content[place] = int(rng.integers(256))
    file.write_bytes(content)


def _length(file: Path, rng: Rng) -> None:
    """Overwrite the length of some element of explicit VR."""
    content = bytearray(file.read_bytes())
    pixels = content.find(b"\xe0\x7f\x10\x00")
    header = content[: pixels + 12] if pixels >= 0 else content
    places = [i + 2 for vr in (b"UI", b"CS", b"DS", b"IS", b"US", b"SQ", b"LO", b"OW", b"OB") for i in _all(header, vr)]
    if places:
        place = int(rng.choice(places))
        content[place : place + 2] = rng.bytes(2)
    file.write_bytes(content)


def _all(content: bytes | bytearray, wanted: bytes) -> Iterator[int]:
    place = content.find(wanted)
    while place >= 0:
        yield place
        place = content.find(wanted, place + 1)


def _number(file: Path, rng: Rng) -> None:
    """Give an attribute that describes the pixels another value, or take it away."""
    with silenced_pydicom():
        dataset = pydicom.dcmread(file)
        keyword = str(rng.choice([keyword for keyword in NUMBERS if keyword in dataset]))
        value = int(dataset[keyword].value)
        if rng.integers(4) == 0:
            del dataset[keyword]
        else:
            changed = int(rng.choice([value - 1, value + 1, 2 * value, value // 2, 0, 65535]))
            setattr(dataset, keyword, min(65535, max(0, changed)))
        dataset.save_as(file)


def _pixel_bytes(file: Path, rng: Rng) -> None:
    """Give the pixel data another length."""
    with silenced_pydicom():
        dataset = pydicom.dcmread(file)
        size = int(rng.choice([1, 2, 64, 1000]))
        data = dataset.PixelData
        dataset.PixelData = data[:-size] if rng.integers(2) else data + bytes(size)
        dataset.save_as(file)


def _contour(file: Path, rng: Rng) -> None:
    """Break one contour, or what a structure set says of it; no point is moved within its slice."""
    with silenced_pydicom():
        dataset = pydicom.dcmread(file)
        contours = dataset.ROIContourSequence[0].ContourSequence
        contour = contours[int(rng.integers(len(contours)))]
        values = [str(value) for value in contour.ContourData]
        what = rng.integers(8)
        if what == 0:
            contour.NumberOfContourPoints = int(rng.choice([0, 1, 2, len(values), 2**31 - 1]))
        elif what == 1:
            _write_raw(contour, values[: -int(rng.integers(1, 3))])
        elif what == 2:
            values[int(rng.integers(len(values)))] = str(
                rng.choice(["nan", "inf", "1e400", "", "x", "-", "1e30", "0x1"])
            )
            _write_raw(contour, values)
        elif what == 3:
            contour.ContourGeometricType = str(rng.choice(["OPEN_PLANAR", "POINT", "OPEN_NONPLANAR", "", "CLOSED"]))
        elif what == 4:
            place = 3 * int(rng.integers(len(values) // 3)) + 2
            values[place] = str(float(values[place]) + float(rng.choice([1.0, -1.5, 500.0])))
            _write_raw(contour, values)
        elif what == 5:
            del dataset[str(rng.choice(SEQUENCES))]
        elif what == 6:
            holder = dataset[str(rng.choice(SEQUENCES[1:]))].value[0]
            keyword = str(rng.choice([k for k in ("ROINumber", "ReferencedROINumber") if k in holder]))
            setattr(holder, keyword, int(rng.choice([0, 2, -1, 2**31 - 1])))
        else:
            del contour[str(rng.choice([element.keyword for element in contour]))]
        dataset.save_as(file)


def _write_raw(contour: Dataset, values: list[str]) -> None:
    """Give a contour the points' text as it is."""
    contour.add_new("ContourData", "DS", None)
    contour["ContourData"]._value = "\\".join(values)


def _transfer_syntax(file: Path, rng: Rng) -> None:
    """Say another transfer syntax than the data are in."""
    others = (
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.5",
    )
    content = file.read_bytes()
    other = str(rng.choice(others)).encode()
    file.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", other[:20].ljust(20, b"\0"), 1))


def _file(file: Path, rng: Rng) -> None:
    """Take the file away, empty it, or put another kind of thing in its place."""
    what = rng.integers(4)
    other = file.with_name("other")
    file.rename(other)
    if what == 1:
        file.write_bytes(b"")
    elif what == 2:
        file.symlink_to("other")
    elif what == 3:
        os.mkfifo(file)
    if what != 2:
        other.unlink()


DICOM: Final[tuple[Callable[[Path, Rng], None], ...]] = (
    lambda file, rng: _bytes(file, rng, 200),
    _length,
    _number,
    _pixel_bytes,
    _transfer_syntax,
    _file,
)
WITHOUT_PIXELS: Final = (DICOM[0], _length, _contour, _contour, _transfer_syntax, _file)
KINDS: Final = ("CT", "SEG", "RTSTRUCT", "clinical", "settings", "model")
SHARES: Final = (0.3, 0.25, 0.2, 0.07, 0.12, 0.06)


def mutated(kind: str, rng: Rng, base: Base, folder: Path) -> tuple[Path, Path, Path]:
    """Write one mutation into a folder, and return study, settings and model."""
    study, settings, model = folder / "study", folder / "app.yaml", shipped_path("models") / "pdl1es"
    if kind == "RTSTRUCT":
        _with_structure_set(base, study)
    else:
        shutil.copytree(base.study, study)
    shutil.copy(base.settings_file, settings)
    if kind in ("CT", "SEG", "RTSTRUCT"):
        file = str(rng.choice(sorted(path.name for path in (study / kind).iterdir())))
        changes = WITHOUT_PIXELS if kind == "RTSTRUCT" else DICOM
        changes[int(rng.integers(len(changes)))](study / kind / file, rng)
    elif kind == "clinical":
        _bytes(study / "clinical.json", rng, 2**20)
    elif kind == "settings":
        _bytes(settings, rng, 2**20)
    else:
        target = folder / "model"
        target.mkdir()
        for name in ("model.onnx", "metadata.json"):
            (target / name).symlink_to(model / name)
        name = str(rng.choice(["model.onnx", "metadata.json"]))
        (target / name).unlink()
        shutil.copy(model / name, target / name)
        _bytes(target / name, rng, 2**30)
        model = target
    return study, settings, model


def _judged(kind: str, study: Path, settings_file: Path, model_folder: Path, base: Base) -> str:
    try:
        settings = load_settings(settings_file)
        model = FusionModel.load(model_folder, threads=1) if kind == "model" else base.model
        score, warnings = _scored(study, settings, model, base, [])
    except Refusal as refusal:
        return refusal.code.name
    except (SettingsError, ClinicalFileError):
        return "usage"
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"FAULT {type(error).__name__}: {str(error)[:200]}"
    if abs(score - base.score) < 1e-9:
        return "same"
    if kind in ("clinical", "settings"):  # another value is another input
        return "other input"
    return (
        "warned"
        if warnings - base.warnings
        else f"FAULT {score:.4f} instead of {base.score:.4f} without a further warning"
    )


def tried(number: int, seed: int, base: Base, folder: Path) -> Outcome:
    """Try one mutation in a child.

    Parameters
    ----------
    number, seed
        Which mutation.
    base
        The whole study.
    folder
        An empty one.

    Returns
    -------
    Outcome
    """
    rng = np.random.default_rng([seed, number])
    kind = str(rng.choice(KINDS, p=SHARES))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            signal.alarm(SECONDS)
            os.write(writer, _judged(kind, *mutated(kind, rng, base, folder), base).encode("utf-8", "replace"))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        what = pipe.read().decode("utf-8")
    _, status = os.waitpid(child, 0)
    return Outcome(kind, number, what or f"FAULT the child ended with status {status}")


def fuzz(count: int, seed: int, folder: Path) -> list[Outcome]:
    """Try mutations one after the other, and return what came of them.

    Parameters
    ----------
    count
        How many.
    seed
        The same seed gives the same mutations.
    folder
        For temporary files.

    Returns
    -------
    list of Outcome
    """
    base = make_base(folder)
    outcomes = []
    for number in range(count):
        with tempfile.TemporaryDirectory(dir=folder) as own:
            outcomes.append(tried(number, seed, base, Path(own)))
    return outcomes

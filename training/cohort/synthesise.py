"""Synthesise a cohort with known truth: phantom chests whose tumours carry the factors of `truth`, scanned and stored."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import SimpleITK

from pdl1es.atomic import write_atomically
from pdl1es.clinical import FAMILY_HISTORY_CODES, SEX_CODES, SMOKING_CODES
from pdl1es.grid.resample import CROP_MARGIN_MM
from pdl1es.phantom.anatomy import Chest, build_chest, draw_chest, place_tumour
from pdl1es.phantom.dicom import PatientRecord, write_study
from pdl1es.phantom.scanner import Scan, ScanCrop, ScannerParameters, crop_around, draw_scanner, scan
from pdl1es.phantom.shapes import sphere_directions
from pdl1es.phantom.tumour import draw_tumour
from training.cohort.cluster import run_on_cluster
from training.cohort.prepared import PRETRAIN, json_bytes
from training.cohort.table import write_cohort
from training.cohort.truth import TrueModel, TruthSettings, draw_labels, draw_patients, draw_survival, true_model
from training.errors import UsageError
from training.progress import Count
from training.statistics.discrimination import auc

TABLE_FILE: Final = "cohort.csv"
TRUTH_FILE: Final = "truth.json"
TRUTH_TABLE_FILE: Final = "truth.csv"
IMAGES_FOLDER: Final = "images"
CT_FILE, MASK_FILE = "ct.nrrd", "mask.nrrd"

Group = Literal["expression", "prognosis", "gate", "pretrain"]
_GROUPS: Final[tuple[Group, ...]] = ("expression", "prognosis", "gate", PRETRAIN)
_PREFIX: Final = {"expression": "E", "prognosis": "P", "gate": "G", "pretrain": "U"}
_DIVISION: Final = 3
"""Part of the seed of the expression cohort's division; the groups' own parts are their places."""
_SPARE_MM: Final = 2.0
"""Beyond the grid's margin: nodes lie up to 1 mm further out."""


class SynthesisError(UsageError):
    """The cohort cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class SynthesisSettings:
    """What cohort to make; the defaults are the paper's sizes, and the cases of the quality gates.

    Attributes
    ----------
    expression, prognosis, gate
        Patients of the expression cohort, under immunotherapy, and of further test cases.
    pretrain
        Patients whose images alone are known: the table names no outcome of theirs.
    dicom
        So many cases, the table's first, are whole DICOM studies with SEG; the others are small volumes.
    seed
        Same settings, same bytes.
    truth
        How label and survival depend on the factors.
    """

    expression: int = 939
    prognosis: int = 94
    gate: int = 1000
    dicom: int = 0
    seed: int = 0
    truth: TruthSettings = field(default_factory=TruthSettings)
    pretrain: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        if min(self.expression, self.prognosis, self.gate, self.pretrain, self.dicom, self.seed) < 0:
            raise SynthesisError("sizes and seed may not be negative")
        if self.expression + self.prognosis + self.gate + self.pretrain == 0:
            raise SynthesisError("the cohort is empty")

    def document(self) -> dict[str, Any]:
        """Return what the images depend on: these settings and the generator's own source."""
        return {**asdict(self), "generator": generator_digest()}


@dataclass(frozen=True, slots=True)
class SyntheticCase:
    """One case's images, before they are made.

    Attributes
    ----------
    case_id
        ``E0001`` (expression), ``P0001`` (immunotherapy), ``G0001`` (further test cases), ``U0001`` (pretraining).
    seed
        Of chest, tumour, scanner and noise: the cohort's seed, the group and the number.
    border, inner
        The latent factors that the image shows.
    female
        Of the chest.
    age, smoking, family_history
        For the header and ``clinical.json`` of a DICOM study; None where not known.
    dicom
        Whether it becomes a whole DICOM study.
    """

    case_id: str
    seed: tuple[int, ...]
    border: float
    inner: float
    female: bool
    age: int
    smoking: str | None
    family_history: str | None
    dicom: bool


@dataclass(frozen=True, slots=True)
class _SynthesisTask:
    case: SyntheticCase
    folder: Path


def synthesise_cohort(
    output: Path,
    settings: SynthesisSettings,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Count = lambda done, total: None,
) -> Path:
    """Make a synthetic cohort, or finish one that was interrupted.

    Parameters
    ----------
    output
        Folder for ``cohort.csv``, ``truth.json``, ``truth.csv`` and ``images/``.
    settings
        What to make.
    scheduler, workers
        As `run_on_cluster`; they change nothing in the result.
    progress
        Told as cases are made.

    Returns
    -------
    Path
        ``cohort.csv``; it is written last.

    Raises
    ------
    SynthesisError
        The folder holds another cohort, or a case could not be made.
    """
    request = json.loads(json_bytes({"request": settings.document()}))["request"]
    _require_same(output, request)
    model = true_model(settings.truth)
    patients = draw_cohort(settings, model)
    document = {"seed": settings.seed, "request": request, **model.document(), "empirical": empirical_aucs(patients)}
    write_atomically(output / TRUTH_FILE, json_bytes(document))
    write_atomically(output / TRUTH_TABLE_FILE, patients.to_csv(index=False, lineterminator="\n").encode("utf-8"))

    cases = synthetic_cases(settings, patients)
    missing = {
        case.case_id: _SynthesisTask(case, output / IMAGES_FOLDER / case.case_id)
        for case in cases
        if not (output / IMAGES_FOLDER / case.case_id).is_dir()
    }
    done = len(cases) - len(missing)
    progress(done, len(cases))
    for case_id, outcome in run_on_cluster(make_images, missing, scheduler=scheduler, workers=workers):
        if isinstance(outcome, BaseException):
            raise SynthesisError(f"the images of {case_id} could not be made: {outcome}") from outcome
        done += 1
        progress(done, len(cases))
    table = write_cohort(_table_row(case, row) for case, row in zip(cases, patients.to_dict("records"), strict=True))
    write_atomically(output / TABLE_FILE, table)
    return output / TABLE_FILE


def draw_cohort(settings: SynthesisSettings, model: TrueModel) -> pd.DataFrame:
    """Draw patients: factors, clinical variables, expression and survival, one row per case.

    Every patient has a seed of their own, so that a larger cohort begins with the smaller one's patients; the division
    of the expression cohort is drawn for the whole (8:1:1 as 750, 93 and 96 of 939, stratified by label).

    Parameters
    ----------
    settings
        Sizes and seed.
    model
        What labels and survival are drawn from.

    Returns
    -------
    pd.DataFrame
    """
    rows = []
    for number, group in enumerate(_GROUPS):
        for index in range(getattr(settings, group)):
            rng = np.random.default_rng([settings.seed, number, index, 1])
            patient = draw_patients(rng, 1, "immunotherapy" if group == "prognosis" else "expression")
            expression = draw_labels(rng, model, patient)
            survival = draw_survival(rng, model, expression["bayes_logit"].to_numpy(), patient["age"].to_numpy())
            texts = _texts(rng, group)
            rows.append(
                {
                    "case_id": f"{_PREFIX[group]}{index + 1:04d}",
                    "split": None if group == "expression" else group,
                    **patient.iloc[0].to_dict(),
                    **expression.iloc[0].to_dict(),
                    **(survival.iloc[0].to_dict() if group == "prognosis" else {}),
                    **texts,
                }
            )
    cohort = pd.DataFrame(rows)
    members = np.flatnonzero(cohort["split"].isna().to_numpy())
    rng = np.random.default_rng([settings.seed, _DIVISION, 0, 2])
    cohort.loc[members, "split"] = stratified_division(rng, cohort.loc[members, "label"].to_numpy())
    return cohort


def stratified_division(rng: np.random.Generator, labels: Any) -> list[str]:
    """Divide patients in the paper's proportions (750, 93 and 96 of 939), the labels' shares alike.

    Parameters
    ----------
    rng
        Of the draw.
    labels
        Shape (N,), 0 and 1.

    Returns
    -------
    list of str
        ``train``, ``validation`` or ``test`` for each label, in their order.
    """
    labels = np.asarray(labels)
    # Patients in random order, interleaved by label, so that every stretch has the shares of the whole.
    keys = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        keys[members] = (rng.permutation(len(members)) + rng.random()) / len(members)
    validation, test = round(len(labels) * 93 / 939), round(len(labels) * 96 / 939)
    order = np.argsort(keys, kind="stable")
    division = np.full(len(labels), "train", dtype=object)
    # Not the same stretch for every seed: the order is random, its beginning will do.
    division[order[:validation]] = "validation"
    division[order[validation : validation + test]] = "test"
    return [str(name) for name in division]


def synthetic_cases(settings: SynthesisSettings, patients: pd.DataFrame) -> list[SyntheticCase]:
    """Return what the images of drawn patients are made from, in their order.

    Parameters
    ----------
    settings
        Sizes and seed.
    patients
        As of `draw_cohort`.

    Returns
    -------
    list of SyntheticCase
    """
    smoking = {code: name for name, code in SMOKING_CODES.items()}
    family = {code: name for name, code in FAMILY_HISTORY_CODES.items()}
    cases = []
    for place, row in enumerate(patients.to_dict("records")):
        group = next(number for number, name in enumerate(_GROUPS) if _PREFIX[name] == row["case_id"][0])
        cases.append(
            SyntheticCase(
                case_id=row["case_id"],
                seed=(settings.seed, group, int(row["case_id"][1:]), 3),
                border=float(row["border"]),
                inner=float(row["inner"]),
                female=row["sex"] == SEX_CODES["female"],
                age=int(row["age"]),
                smoking=smoking.get(row["known_smoking"]),
                family_history=family.get(row["known_family_history"]),
                dicom=place < settings.dicom,
            )
        )
    return cases


def scanned_chest(case: SyntheticCase) -> tuple[Chest, ScannerParameters, int]:
    """Draw a case's chest, tumour, scanner and noise. Only the tumour's border and texture depend on the factors."""
    rng = np.random.default_rng(case.seed)
    parameters = draw_chest(rng, female=case.female)
    tumour = draw_tumour(rng, border=case.border, inner=case.inner)
    tumour = replace(tumour, centre=place_tumour(rng, parameters, tumour.diameter_mm))
    scanner = draw_scanner(rng, sharp=True)
    return build_chest(parameters, tumour), scanner, int(rng.integers(2**31))


def small_field(chest: Chest, scanner: ScannerParameters) -> ScanCrop:
    """Return the part of the scan that the method looks at: the tumour, the grid's margin and a slice more.

    Parameters
    ----------
    chest
        With its tumour.
    scanner
        Its grid.

    Returns
    -------
    ScanCrop

    Raises
    ------
    ValueError
        The chest has no tumour.
    """
    if chest.tumour is None:
        raise ValueError("the chest has no tumour")
    directions = sphere_directions(4000)
    surface = directions * chest.tumour.core_radius(directions)[:, None]
    reach = np.abs(surface).max(axis=0) * 1.01 + CROP_MARGIN_MM + _SPARE_MM
    # The mask may reach half a slice beyond the outermost slice that shows it.
    sizes = 2 * (reach + np.array([scanner.pixel_spacing_mm] * 2 + [1.5 * scanner.slice_spacing_mm]))
    return crop_around(scanner, chest.tumour.parameters.centre, (float(sizes[0]), float(sizes[1]), float(sizes[2])))


def make_images(task: _SynthesisTask) -> None:
    """Make one case's images (on a worker); its folder appears whole or not at all."""
    case, folder = task.case, task.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{case.case_id}.", dir=folder.parent))
    try:
        chest, scanner, noise = scanned_chest(case)
        if case.dicom:
            _write_dicom(aside, case, chest, scanner, noise)
        else:
            made = scan(chest, scanner, seed=noise, crop=small_field(chest, scanner))
            _write_volume(aside / CT_FILE, made, made.hu)
            _write_volume(aside / MASK_FILE, made, made.mask.astype(np.uint8))
        aside.chmod(0o755)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def empirical_aucs(patients: pd.DataFrame) -> dict[str, Any]:
    """Return the Bayes score's AUC with DeLong's interval in each split that holds two patients of either label.

    Patients of pretraining have no label that anyone knows, and are left out.
    """
    found = {}
    patients = patients[patients["split"] != PRETRAIN]
    for name, group in [*patients.groupby("split"), ("expression", patients[patients["case_id"].str.startswith("E")])]:
        if group["label"].value_counts().reindex([0, 1], fill_value=0).min() >= 2:
            area = auc(group["label"], group["bayes_logit"])
            found[str(name)] = {
                "patients": len(group),
                "high": int(group["label"].sum()),
                "bayes_auc": area.value,
                "lower": area.lower,
                "upper": area.upper,
            }
    return found


def generator_digest() -> str:
    """Return a digest of the source files that decide the images: another version of the phantom makes another cohort."""
    digest = hashlib.sha256()
    for package, names in (
        ("pdl1es.phantom", None),
        ("training.cohort", ("synthesise.py", "truth.py")),
    ):
        for item in sorted(resources.files(package).iterdir(), key=lambda item: item.name):
            if item.name.endswith(".py") and (names is None or item.name in names):
                digest.update(item.read_bytes())
    return digest.hexdigest()


def _texts(rng: np.random.Generator, group: Group) -> dict[str, str]:
    """Draw what carries no information on expression: stage, histology and treatment."""
    if group == "prognosis":
        names = ["adenocarcinoma", "squamous cell carcinoma", "neuroendocrine carcinoma", "other"]
        return {
            "stage": "IV",
            "histology": str(rng.choice(names, p=np.array([50, 33, 7, 4]) / 94)),
            "treatment": str(rng.choice(["pembrolizumab", "pembrolizumab and chemotherapy"], p=[51 / 94, 43 / 94])),
        }
    return {
        "stage": str(rng.choice(["IIIB", "IV"], p=[0.2, 0.8])),
        "histology": str(rng.choice(["adenocarcinoma", "squamous cell carcinoma", "other"], p=[0.70, 0.25, 0.05])),
    }


def _require_same(output: Path, request: dict[str, Any]) -> None:
    """Refuse to mix two cohorts in one folder."""
    try:
        there = json.loads((output / TRUTH_FILE).read_bytes()).get("request")
    except FileNotFoundError:
        return
    except ValueError as error:
        raise SynthesisError(f"{TRUTH_FILE} in the folder is no JSON: choose another folder") from error
    different = sorted(name for name in request if (there or {}).get(name) != request[name])
    if different:
        raise SynthesisError(
            f"the folder holds another cohort (it differs in {', '.join(different)}): choose another folder"
        )


def _table_row(case: SyntheticCase, row: dict[str, Any]) -> dict[str, Any]:
    """Return the case's row of ``cohort.csv``."""
    folder = f"{IMAGES_FOLDER}/{case.case_id}"
    scanner = scanned_settings(case)
    volume: dict[str, Any] = {"ct": folder}
    if not case.dicom:
        volume = {
            "ct": f"{folder}/{CT_FILE}",
            "seg": f"{folder}/{MASK_FILE}",
            "manufacturer": scanner.manufacturer,
            "convolution_kernel": scanner.kernel,
            "slice_thickness_mm": f"{scanner.slice_thickness_mm:g}",
            "tube_current_ma": f"{scanner.tube_current_ma:g}",
        }
    followed, labelled = row["split"] == "prognosis", row["split"] != PRETRAIN
    return {
        "id": case.case_id,
        **volume,
        "age": case.age,
        "sex": "female" if case.female else "male",
        "smoking": case.smoking,
        "family_history": case.family_history,
        "pdl1_tps": int(row["pdl1_tps"]) if labelled else None,
        "pdl1_assay": "SP142" if labelled else None,
        "stage": row["stage"],
        "histology": row["histology"],
        "pfs_days": int(row["pfs_days"]) if followed else None,
        "progressed": int(row["progressed"]) if followed else None,
        "treatment": row["treatment"] if followed else None,
        "split": row["split"],
    }


def scanned_settings(case: SyntheticCase) -> ScannerParameters:
    """Return the scanner of a case without building its chest."""
    rng = np.random.default_rng(case.seed)
    parameters = draw_chest(rng, female=case.female)
    place_tumour(rng, parameters, draw_tumour(rng, border=case.border, inner=case.inner).diameter_mm)
    return draw_scanner(rng, sharp=True)


def _write_volume(path: Path, made: Scan, values: Any) -> None:
    image = SimpleITK.GetImageFromArray(values)
    image.SetOrigin(made.origin)
    image.SetSpacing(made.spacing)
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def _write_dicom(folder: Path, case: SyntheticCase, chest: Chest, scanner: ScannerParameters, noise: int) -> None:
    clinical = {
        "age": case.age,
        "sex": "female" if case.female else "male",
        "smoking": case.smoking,
        "family_history": case.family_history,
    }
    patient = PatientRecord(
        patient_id=case.case_id,
        sex="F" if case.female else "M",
        age=f"{case.age:03d}Y",
        smoking=None if case.smoking is None else "NO" if case.smoking == "never" else "YES",
        accession_number=case.case_id,
    )
    write_study(
        folder,
        chest,
        scanner,
        key=f"cohort/{'/'.join(map(str, case.seed))}",
        noise_seed=noise,
        patient=patient,
        clinical=clinical,
        workers=1,
    )

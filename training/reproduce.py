"""From nothing to the model and its report: synthesise, prepare, pretrain, train, disturb, repeat, evaluate, export, report.

`make reproduce` runs it. Every finished step leaves a mark, so that a stopped run continues. A mark is valid as long as
the step's output is there and its settings, code and inputs are unchanged.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pdl1es.atomic import write_atomically
from pdl1es.clinical import VARIABLES
from pdl1es.model.folder import METADATA_FILE, MODEL_FILE
from pdl1es.model.fusion import FusionModel
from training.analysis.attention import attention_of
from training.analysis.cohort_analysis import AnalysedCohort, AnalysisOptions, analyse_cohort
from training.analysis.finished_run import redivision_areas, run_network, run_predictions
from training.cohort.prepare import prepare_cohort
from training.cohort.prepared import CASES_FILE, MANIFEST_FILE, PATCHES_FILE, RADIOMICS_FILE, PreparedCohort
from training.cohort.sources import case_sources, preparation_settings
from training.cohort.synthesise import TABLE_FILE, TRUTH_FILE, TRUTH_TABLE_FILE, synthesise_cohort
from training.cohort.table import read_cohort
from training.controls.disturbed import CONTROLS, Control, prepare_control
from training.controls.further_scans import further_scans
from training.controls.retest import Retest, retest_cohorts
from training.errors import FailedError
from training.export import model_digest
from training.expression.baselines import with_baselines
from training.expression.results import Evaluation
from training.expression.scanners import with_scanner_differences
from training.known_truth.gates import true_hazard_gates
from training.pretrain.run import PRETRAINING_FILE, pretrain
from training.pretrain.run import WEIGHTS_FILE as PRETRAINED_WEIGHTS
from training.progress import Count, Progress
from training.progression.results import PrognosisSettings
from training.release.cut_offs import CUT_OFFS_FILE, read_cut_offs, write_cut_offs
from training.release.export_run import CARD_FILE, release
from training.reporting.analysis_report import figures_of, write_analysis
from training.reporting.cohort_figures import figure_5, flow_chart_of
from training.reporting.provenance import provenance_of
from training.reproduction_settings import ReproductionSettings
from training.scoring.cohort_scores import SCORES, score_models
from training.scoring.predictions import SIGNATURE
from training.scoring.scored_cohort import ScoredCohort, scored_cohort
from training.train.config import Hardware
from training.train.progress import Observer
from training.train.run import train
from training.train.run_folder import NETWORKS, PREDICTIONS_FILE, REDIVISIONS, SUMMARY_FILE

COHORT, PREPARED, PRETRAINED, RUN = "cohort", "prepared", "pretrained", "run"
DISTURBED, SECOND = "controls", "second-scan"
CUT_OFFS, MODEL, REPORT, MARKS = "cut-offs", "model", "report", "steps"
AGREEMENT: Final = 1e-5
"""Largest difference of a score, or of a Cox model's linear predictor, between the training's files and the exported one."""
DISTURBING: Final = ("training/controls/disturbed.py", "training/controls/further_scans.py")
ANALYSING: Final = (
    "pdl1es/model/fusion.py",
    "training/analysis",
    "training/attention.py",
    "training/controls/retest.py",
    "training/expression",
    "training/figures",
    "training/known_truth",
    "training/network.py",
    "training/progression",
    "training/release",
    "training/reporting",
    "training/reproduce.py",
    "training/scoring",
    "training/statistics",
)
EXPORTING: Final = (*ANALYSING, "training/export.py", "training/preprocessing.py", "training/train")
"""Source files that decide a step's output. Cohort, preparation and training check their own output."""
SOURCE_SUFFIXES: Final = (".py", ".j2", ".css")


class ReproductionError(FailedError):
    """A step gave a wrong result."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Cost of a step: seconds, bytes of its output, and whether an earlier call had done it."""

    name: str
    seconds: float
    bytes: int
    done_before: bool


@dataclass(frozen=True, slots=True)
class ReproductionStep:
    """One step, and the conditions under which it is not repeated.

    Attributes
    ----------
    name, place
        In words; its folder.
    work
        Does it.
    outputs
        Files in its folder without which it is not whole, and by which later steps know that it was done otherwise.
    sources
        Code that decides what it leaves: as `source_digest` takes it. None where the step itself looks after what it
        finds, so that nothing is taken away before it.
    after
        Earlier steps whose outputs it is made from.
    """

    name: str
    place: str
    work: Callable[[], None]
    outputs: tuple[str, ...]
    sources: tuple[str, ...] | None = None
    after: tuple[str, ...] = ()


class Reproduction:
    """A reproduction in a folder; `run` does every step that is not done yet.

    Parameters
    ----------
    folder
        Of everything that it makes.
    settings
        How large.
    workers
        Processes for images; one per core where None.
    hardware
        For the training.
    observer
        Called for every epoch.
    progress
        Called with the step, units done and units in all.
    say
        Called with a line of text about each step's time and disk space.
    """

    def __init__(
        self,
        folder: Path,
        settings: ReproductionSettings,
        *,
        workers: int | None = None,
        hardware: Hardware | None = None,
        observer: Observer | None = None,
        progress: Progress | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._workers, self._hardware, self._observer = workers, hardware, observer
        self._progress = progress or (lambda step, done, of: None)
        self._say = say
        self._preparation = preparation_settings()
        document = json.dumps(settings.document(), sort_keys=True, default=str)
        self._digest = hashlib.sha256((document + self._preparation.digest()).encode("utf-8")).hexdigest()
        # computed now, because Python runs the code as it was imported: a later change of a file does not take part
        self._sources = {step.name: source_digest(step.sources or ()) for step in self.steps()}
        self._analysis: tuple[ScoredCohort, AnalysedCohort] | None = None

    def steps(self) -> tuple[ReproductionStep, ...]:
        """Return every step in order."""
        training = self.settings.training
        divisions = range(1, training.redivisions + 1) if training.redivided_models else ()
        again = (f"{REDIVISIONS}/{number}/{PREDICTIONS_FILE}" for number in divisions)
        run = (SUMMARY_FILE, PREDICTIONS_FILE, f"{NETWORKS}/{SIGNATURE}/{MODEL_FILE}", *again)
        prepared = (MANIFEST_FILE, CASES_FILE, RADIOMICS_FILE, PATCHES_FILE)
        controls = tuple(f"{self._control(control).name}/{name}" for control in CONTROLS for name in prepared)
        second = tuple(f"{PREPARED}/{name}" for name in prepared)
        pretrained = (PRETRAINED_WEIGHTS, PRETRAINING_FILE)
        model = (MODEL_FILE, METADATA_FILE, CARD_FILE)
        report = ("report.html", "report.json", CUT_OFFS_FILE)
        analyses = "evaluate and prognosis"
        return (
            ReproductionStep("synthesise", COHORT, self._synthesise, (TABLE_FILE, TRUTH_FILE, TRUTH_TABLE_FILE)),
            ReproductionStep("prepare", PREPARED, self._prepare, prepared),
            *(
                ()
                if self.settings.pretraining is None
                else (ReproductionStep("pretrain", PRETRAINED, self._pretrain, pretrained),)
            ),
            ReproductionStep("train", RUN, self._train, run),
            ReproductionStep("disturb", DISTURBED, self._disturb, controls, DISTURBING, ("prepare",)),
            ReproductionStep("scan again", SECOND, self._scan_again, second, DISTURBING, ("prepare",)),
            ReproductionStep(
                analyses, CUT_OFFS, self._analyse, (CUT_OFFS_FILE,), ANALYSING, ("prepare", "train", "disturb")
            ),
            ReproductionStep("export", MODEL, self._export, model, EXPORTING, ("prepare", "train", analyses)),
            ReproductionStep(
                "report",
                REPORT,
                self._report,
                report,
                ANALYSING,
                ("prepare", "train", "disturb", "scan again", "export"),
            ),
        )

    def run(self) -> list[StepTime]:
        """Do every step in order.

        Raises
        ------
        ReproductionError
            The exported model does not score as the training's files do.
        Exception
            As the steps raise; what was done stays done.
        """
        self._analysis = None
        times = []
        for step in self.steps():
            times.append(self._step(step))
            self._say(_sentence(times[-1]))
        self._say(
            f"all steps: {sum(t.seconds for t in times):.0f} s, {sum(t.bytes for t in times) / 1e6:.0f} MB in {self.folder.name}"
        )
        return times

    def _step(self, step: ReproductionStep) -> StepTime:
        place, mark = self.folder / step.place, self._mark(step.name)
        left = json.loads(mark.read_bytes()) if mark.is_file() else {}
        state = self._state(step)
        if left.get("digest") == state and all((place / name).is_file() for name in step.outputs):
            return StepTime(step.name, float(left["seconds"]), int(left["bytes"]), True)
        if step.sources is not None and state not in (left.get("digest"), left.get("begun")):
            # made by other settings, code or earlier steps: none of it may stay beside the new output
            shutil.rmtree(place, ignore_errors=True)
            _write_json(mark, {"begun": state})
        started = time.perf_counter()
        step.work()
        # a stopped step continues its own work, so this is the time of the last call only
        taken = StepTime(step.name, time.perf_counter() - started, _size(place), False)
        _write_json(mark, {"digest": state, **asdict(taken)})
        return taken

    def _state(self, step: ReproductionStep) -> str:
        """Return the digest of what a step's outcome depends on."""
        if step.sources is None:
            return self._digest
        digest = hashlib.sha256((self._digest + self._sources[step.name]).encode("ascii"))
        for earlier in self.steps():
            for name in earlier.outputs if earlier.name in step.after else ():
                with (self.folder / earlier.place / name).open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def _mark(self, name: str) -> Path:
        return self.folder / MARKS / f"{name.replace(' ', '-')}.json"

    def _told(self, step: str) -> Count:
        return lambda done, of: self._progress(step, done, of)

    def _synthesise(self) -> None:
        synthesise_cohort(
            self.folder / COHORT, self.settings.synthesis, workers=self._workers, progress=self._told("synthesising")
        )

    def _prepare(self) -> None:
        cohort = self.folder / COHORT
        prepare_cohort(
            read_cohort(cohort / "cohort.csv"),
            self.folder / PREPARED,
            self._preparation,
            workers=self._workers,
            sources=["synthetic phantoms"],
            truth=cohort,
            progress=self._told("preparing"),
        )

    def _pretrain(self) -> None:
        if self.settings.pretraining is None:
            raise ReproductionError("the settings have no pretraining")
        pretrain(
            PreparedCohort.load(self.folder / PREPARED),
            self.folder / PRETRAINED,
            self.settings.pretraining,
            hardware=self._hardware,
            progress=self._told("pretraining, passes over the patients"),
        )

    def _train(self) -> None:
        pretrained = None if self.settings.pretraining is None else self.folder / PRETRAINED / PRETRAINED_WEIGHTS
        train(
            self._prepared(),
            self.folder / RUN,
            self.settings.training,
            hardware=self._hardware,
            pretrained=pretrained,
            observer=self._observer,
        )

    def _disturb(self) -> None:
        prepared = self._prepared()
        chosen = prepared.subset(np.isin(prepared.cases["split"].to_numpy(dtype=object), self.settings.control_splits))
        wide = further_scans(
            self.folder / COHORT,
            chosen.case_ids,
            "wide",
            self.folder / DISTURBED / "wide",
            workers=self._workers,
            progress=self._told("scanning a wide field"),
        )
        tables = {"shuffled voxels": self.folder / COHORT / "cohort.csv", "mask in healthy lung": wide}
        for control in CONTROLS:
            prepare_control(
                chosen,
                case_sources(tables[control]),
                self._preparation,
                control,
                self._control(control),
                workers=self._workers,
                progress=self._told(control),
            )
        shutil.rmtree(self.folder / DISTURBED / "wide")

    def _scan_again(self) -> None:
        prepared = self._prepared()
        test = prepared.subset("test").case_ids + prepared.subset("validation").case_ids
        place = self.folder / SECOND
        table = further_scans(
            self.folder / COHORT,
            test[: self.settings.retested],
            "second",
            place / "images",
            workers=self._workers,
            progress=self._told("scanning again"),
        )
        prepare_cohort(
            read_cohort(table),
            place / PREPARED,
            self._preparation,
            workers=self._workers,
            sources=["synthetic phantoms, second scan"],
            progress=self._told("preparing the second scan"),
        )

    def _analyse(self) -> None:
        _, analysed = self._analysed()
        write_cut_offs(self.folder / CUT_OFFS / CUT_OFFS_FILE, analysed.cut_offs)

    def _export(self) -> None:
        aside = self.folder / f".{MODEL}"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            release(
                self.folder / RUN,
                aside,
                cut_offs_file=self.folder / CUT_OFFS / CUT_OFFS_FILE,
                name=SIGNATURE,
                version="1.0.0",
                cohort=self._sentence_of_cohort(),
                progress=self._told("comparing onnxruntime with torch"),
            )
            self._check_export(aside)
            shutil.rmtree(self.folder / MODEL, ignore_errors=True)
            aside.rename(self.folder / MODEL)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _check_export(self, model: Path) -> None:
        """Hold the exported file to the training's predictions and the Cox models' coefficients, patient by patient."""
        kept = self.folder / CUT_OFFS / SCORES
        exported = score_models(self._prepared(), {SIGNATURE: model}, progress=self._progress, kept=kept)
        exported = exported.set_index("case_id")
        trained = run_predictions(self.folder / RUN)
        trained = trained[trained["model"] == SIGNATURE].set_index("case_id").reindex(exported.index)
        score = trained["probability"].to_numpy(dtype=np.float64)
        imputed = trained[[f"imputed_{name}" for name in VARIABLES]].to_numpy(dtype=np.float64)
        risks = read_cut_offs(self.folder / CUT_OFFS / CUT_OFFS_FILE).risks(imputed, score)
        nobody = np.full(score.shape, np.nan)
        for column, expected, what in (
            ("probability", score, "score"),
            ("clinical_risk", risks.get("clinical_risk", nobody), "clinical risk"),
            ("fusion_risk", risks.get("fusion_risk", nobody), "fusion risk"),
        ):
            here = exported[column].to_numpy(dtype=np.float64)
            if not np.array_equal(np.isnan(here), np.isnan(expected)):
                raise ReproductionError(
                    f"the exported model gives a {what} for other patients than the training's files"
                )
            difference = float(np.nanmax(np.abs(here - expected), initial=0.0))
            if difference > AGREEMENT:
                raise ReproductionError(
                    f"the exported model's {what} differs by {difference:.1e} from the training's files, so that it was not "
                    "kept: report this defect"
                )

    def _report(self) -> None:
        prepared = self._prepared()
        scored, analysed = self._analysed()
        network = run_network(self.folder / RUN)
        attention = attention_of(prepared, scored, network, progress=self._progress)
        sources = case_sources(self.folder / COHORT / "cohort.csv")
        model = FusionModel.load(self.folder / MODEL, threads=1)
        drawn = {
            **flow_chart_of(prepared, scored),
            **figures_of(analysed),
            **figure_5(scored, network, sources, self._preparation, attention, self._progress),
        }
        write_analysis(
            self.folder / REPORT,
            "PD-L1ES on a synthetic cohort",
            prepared,
            analysed,
            drawn,
            {
                **provenance_of(prepared, f"{model.metadata.name} {model.metadata.version}", model.sha256),
                "Attainable (Bayes) AUC": f"{self._truth()['bayes_auc']:.3f}",
            },
            redivisions=redivision_areas(self.folder / RUN),
            gates=analysed.gates,
            retest=self._retest(prepared, model),
            attention=attention,
            progress=self._progress,
        )
        if not isinstance(analysed.evaluation, Evaluation):
            raise ReproductionError(f"nothing could be evaluated: {analysed.evaluation.reason}")

    def _retest(self, prepared: PreparedCohort, model: FusionModel) -> Retest:
        second = PreparedCohort.load(self.folder / SECOND / PREPARED)
        return retest_cohorts(prepared, second, model, progress=self._progress)

    def _analysed(self) -> tuple[ScoredCohort, AnalysedCohort]:
        """Analyse everything, once per call of `run`."""
        if self._analysis is None:
            prepared = self._prepared()
            controls: dict[str, PreparedCohort] = {name: PreparedCohort.load(self._control(name)) for name in CONTROLS}
            table = run_predictions(self.folder / RUN, controls, self._progress, self.folder / CUT_OFFS / SCORES)
            scored = with_baselines(scored_cohort(prepared, table, tuple(controls)), prepared, progress=self._progress)
            scored = with_scanner_differences(scored, prepared)
            options = AnalysisOptions(
                prognosis=PrognosisSettings(permutations=self.settings.permutations),
                model=model_digest(self.folder / RUN / NETWORKS / SIGNATURE),
            )
            found = analyse_cohort(scored, options, self._progress)
            gates = (*found.gates, *true_hazard_gates(scored, self._truth()))
            self._analysis = scored, replace(found, gates=gates, cut_offs=found.cut_offs.with_gates(gates))
        return self._analysis

    def _truth(self) -> dict[str, Any]:
        return json.loads((self.folder / PREPARED / TRUTH_FILE).read_bytes())

    def _prepared(self) -> PreparedCohort:
        return PreparedCohort.load(self.folder / PREPARED).without_pretraining()

    def _control(self, control: Control) -> Path:
        return self.folder / DISTURBED / control.replace(" ", "-")

    def _sentence_of_cohort(self) -> str:
        sizes = self.settings.synthesis
        unlabelled = f"Pretrained on {sizes.pretrain} more without a label. " if self.settings.pretraining else ""
        return (
            f"{unlabelled}Cut-offs of risk and Cox models on {sizes.prognosis} more. Truth drawn with seed {sizes.seed}; "
            "no patient"
        )


def source_digest(sources: Iterable[str]) -> str:
    """Return the SHA-256 of code and templates, given as files and folders from the package's parent on."""
    parent = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for source in sources:
        place = parent / source
        inside = sorted(file for file in place.rglob("*") if file.suffix in SOURCE_SUFFIXES)
        for file in inside if place.is_dir() else (place,):
            digest.update(f"{file.relative_to(parent).as_posix()}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode("utf-8"))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sentence(taken: StepTime) -> str:
    before = " (done before)" if taken.done_before else ""
    return f"{taken.name}: {taken.seconds:.0f} s, {taken.bytes / 1e6:.1f} MB{before}"

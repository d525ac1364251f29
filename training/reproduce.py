"""From nothing to the model and its report: synthesise, prepare, train, disturb, repeat, evaluate, export, report.

`make reproduce` runs it; every step leaves a mark when it is whole, so that a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from app.settings import load_settings, settings_file
from pdl1es import __version__
from pdl1es.atomic import write_atomically
from pdl1es.model import FusionModel
from training.cohort.case import CaseSource, PreparationSettings
from training.cohort.prepare import prepare_cohort
from training.cohort.prepared import PreparedCohort
from training.cohort.synthesise import SynthesisSettings, synthesise_cohort
from training.cohort.table import read_cohort
from training.evaluation.analysis import (
    AnalysedCohort,
    AnalysisOptions,
    analyse_cohort,
    attention_of,
    figure_5,
    figures_of,
    flow_chart_of,
    provenance_of,
    redivision_areas,
    run_network,
    run_predictions,
    true_hazard_gates,
    write_analysis,
)
from training.evaluation.controls import CONTROLS, Control, prepare_control
from training.evaluation.cut_offs import CUT_OFFS_FILE, write_cut_offs
from training.evaluation.evaluate import Evaluation
from training.evaluation.predictions import SIGNATURE
from training.evaluation.prognosis import PrognosisSettings
from training.evaluation.retest import Retest, retest_cohorts
from training.evaluation.scored import Progress, ScoredCohort, score_models, scored_cohort
from training.evaluation.synthetic import further_scans
from training.train.config import Hardware, TrainingConfig
from training.train.progress import Observer
from training.train.release import release
from training.train.run import train

COHORT, PREPARED, RUN, DISTURBED, SECOND = "cohort", "prepared", "run", "controls", "second-scan"
CUT_OFFS, MODEL, REPORT, MARKS = "cut-offs", "model", "report", "steps"
AGREEMENT: Final = 1e-5
"""Largest difference of a score between the training's files and the exported one."""
RETESTED: Final = 40
"""Patients of the second scan, near RIDER's 32."""


class ReproductionError(RuntimeError):
    """A step gave what it must not give."""


@dataclass(frozen=True, slots=True)
class ReproductionSettings:
    """How large a reproduction is.

    Attributes
    ----------
    synthesis, training
        Of the cohort and of the networks.
    permutations
        Behind each corrected P of a cut-off.
    retested
        Patients that are scanned a second time.
    control_splits
        Whose inputs are disturbed.
    """

    synthesis: SynthesisSettings
    training: TrainingConfig
    permutations: int = 2000
    retested: int = RETESTED
    control_splits: tuple[str, ...] = ("validation", "test")

    def document(self) -> dict[str, Any]:
        """Return what the result depends on."""
        return {
            "synthesis": self.synthesis.document(),
            "training": self.training.model_dump(mode="json"),
            "permutations": self.permutations,
            "retested": self.retested,
            "control_splits": list(self.control_splits),
            "version": __version__,
        }


def full_settings(seed: int = 0) -> ReproductionSettings:
    """Return the paper's sizes: 939 and 94 patients, 1,000 further ones for the gates, the paper's rates and epochs.

    Where the paper leaves the training open, it is as training and validation patients of this cohort had it better,
    whose truth is known: ``benchmarks/results/training-choices.md``.
    """
    training = TrainingConfig(seed=seed, batch_size=16, linear_rate_factor=10.0, correction="benjamini-hochberg")
    return ReproductionSettings(SynthesisSettings(seed=seed), training)


def small_settings(seed: int = 0) -> ReproductionSettings:
    """Return a run of the mechanics: 100 patients, two epochs, one re-division, a small DenseNet; its numbers mean nothing."""
    return ReproductionSettings(
        synthesis=SynthesisSettings(expression=60, prognosis=24, gate=16, dicom=1, seed=seed),
        training=TrainingConfig.model_validate(
            {"seed": seed, "stages": [{"learning_rate": 1e-4, "epochs": 2}], "redivisions": 1, "layers": "small"}
        ),
        permutations=100,
        retested=4,
        control_splits=("test",),
    )


@dataclass(frozen=True, slots=True)
class StepTime:
    """What a step took: seconds of its own call, bytes that it left, and whether it was done before."""

    name: str
    seconds: float
    bytes: int
    done_before: bool


class Reproduction:
    """A reproduction in a folder; `run` does every step that is not done yet.

    Parameters
    ----------
    folder
        Of everything that it makes.
    settings
        How large.
    workers
        Processes for images; one a core where None.
    hardware
        For the training.
    observer
        Is told of every epoch.
    progress
        Is told what is done.
    say
        Is told each step's time and disk.
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
        chain = load_settings(settings_file(None))
        self._preparation = PreparationSettings(selection=chain.selection, protocol=chain.protocol, limits=chain.limits)
        document = json.dumps(settings.document(), sort_keys=True, default=str)
        self._digest = hashlib.sha256((document + self._preparation.digest()).encode("utf-8")).hexdigest()

    def run(self) -> list[StepTime]:
        """Do every step in order.

        Raises
        ------
        ReproductionError
            The exported model does not score as the training's files do.
        Exception
            As the steps raise; what was done stays done.
        """
        steps: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("synthesise", COHORT, self._synthesise),
            ("prepare", PREPARED, self._prepare),
            ("train", RUN, self._train),
            ("disturb", DISTURBED, self._disturb),
            ("scan again", SECOND, self._scan_again),
            ("evaluate and prognosis", CUT_OFFS, self._analyse),
            ("export", MODEL, self._export),
            ("report", REPORT, self._report),
        )
        times = []
        for name, place, step in steps:
            times.append(self._step(name, place, step))
            self._say(_sentence(times[-1]))
        self._say(
            f"all steps: {sum(t.seconds for t in times):.0f} s, {sum(t.bytes for t in times) / 1e6:.0f} MB in {self.folder.name}"
        )
        return times

    def _step(self, name: str, place: str, step: Callable[[], None]) -> StepTime:
        mark = self.folder / MARKS / f"{name.replace(' ', '-')}.json"
        try:
            left = json.loads(mark.read_bytes())
        except FileNotFoundError:
            left = {}
        if left.get("digest") == self._digest:
            return StepTime(name, float(left["seconds"]), int(left["bytes"]), True)
        started = time.perf_counter()
        step()
        # steps that were stopped take up their own work, so that this is the time of the last call alone
        taken = StepTime(name, time.perf_counter() - started, _size(self.folder / place), False)
        document = {"digest": self._digest, **asdict(taken)}
        write_atomically(mark, (json.dumps(document, indent=1) + "\n").encode("utf-8"))
        return taken

    def _told(self, step: str) -> Callable[[int, int], None]:
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

    def _train(self) -> None:
        train(
            self._prepared(),
            self.folder / RUN,
            self.settings.training,
            hardware=self._hardware,
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
                _sources(tables[control]),
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
        release(
            self.folder / RUN,
            self.folder / MODEL,
            cut_offs_file=self.folder / CUT_OFFS / CUT_OFFS_FILE,
            name=SIGNATURE,
            version="1.0.0",
            cohort=self._sentence_of_cohort(),
        )
        self._check_export()

    def _check_export(self) -> None:
        """Hold the exported file to the training's predictions, patient by patient."""
        prepared = self._prepared()
        exported = score_models(prepared, {SIGNATURE: self.folder / MODEL}, progress=self._progress)
        trained = run_predictions(self.folder / RUN)
        trained = trained[trained["model"] == SIGNATURE].set_index("case_id")["probability"]
        here = exported.set_index("case_id")["probability"]
        both = pd.concat([here, trained.reindex(here.index)], axis=1).to_numpy(dtype=np.float64)
        if not np.array_equal(np.isnan(both[:, 0]), np.isnan(both[:, 1])):
            raise ReproductionError("the exported model refuses other patients than the training's file")
        difference = float(np.nanmax(np.abs(both[:, 0] - both[:, 1]), initial=0.0))
        if difference > AGREEMENT:
            raise ReproductionError(f"the exported model's scores differ by {difference:.1e} from the training's")

    def _report(self) -> None:
        prepared = self._prepared()
        scored, analysed = self._analysed()
        network = run_network(self.folder / RUN)
        attention = attention_of(prepared, scored, network)
        sources = _sources(self.folder / COHORT / "cohort.csv")
        model = FusionModel.load(self.folder / MODEL, threads=1)
        truth = json.loads((self.folder / PREPARED / "truth.json").read_bytes())
        drawn = {
            **flow_chart_of(prepared, scored),
            **figures_of(analysed),
            **figure_5(scored, network, sources, self._preparation, attention),
        }
        write_analysis(
            self.folder / REPORT,
            "PD-L1ES on a synthetic cohort",
            prepared,
            analysed,
            drawn,
            {
                **provenance_of(prepared, f"{model.metadata.name} {model.metadata.version}", model.sha256),
                "Attainable (Bayes) AUC": f"{truth['bayes_auc']:.3f}",
            },
            redivisions=redivision_areas(self.folder / RUN),
            gates=(*analysed.gates, *true_hazard_gates(scored, truth)),
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
        prepared = self._prepared()
        controls: dict[str, PreparedCohort] = {name: PreparedCohort.load(self._control(name)) for name in CONTROLS}
        table = run_predictions(self.folder / RUN, controls, self._progress)
        scored = scored_cohort(prepared, table, tuple(controls))
        options = AnalysisOptions(prognosis=PrognosisSettings(permutations=self.settings.permutations))
        return scored, analyse_cohort(scored, options, self._progress)

    def _prepared(self) -> PreparedCohort:
        return PreparedCohort.load(self.folder / PREPARED)

    def _control(self, control: Control) -> Path:
        return self.folder / DISTURBED / control.replace(" ", "-")

    def _sentence_of_cohort(self) -> str:
        sizes = self.settings.synthesis
        return (
            f"{sizes.expression} synthetic phantoms with known truth (seed {sizes.seed}), cut-offs and Cox models on "
            f"{sizes.prognosis} more; no patient"
        )


def _sources(table: Path) -> dict[str, CaseSource]:
    return {row.id: CaseSource.of(row) for row in read_cohort(table).rows if row.ct is not None}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sentence(taken: StepTime) -> str:
    before = " (done before)" if taken.done_before else ""
    return f"{taken.name}: {taken.seconds:.0f} s, {taken.bytes / 1e6:.1f} MB{before}"

"""The steps of a run on real objects: a second report follows the first in its series, whatever kinds a site makes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword

from gateway.records import StoredResult, StudyKey
from gateway.worker.child import score
from gateway.worker.messages import WorkerReply, WorkerTask
from gateway.workflow.removed_reports import KEPT_ATTRIBUTES
from gateway.workflow.results import ResultStore
from gateway.workflow.runner import RunServices, assemble, failure_of, infer, keep_result
from gateway.workflow.runs import RunInput
from pdl1es.model.folder import model_folder_of
from pdl1es.model.fusion import FusionModel
from pdl1es.report.kinds import ReportKind
from pdl1es.settings import DEFAULT_FILE, Settings, load_settings
from tests.gateway.workflow.stand_ins import ObjectsInFolder, digest_of, new_database, stored_object

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


class InThisProcess:
    """Scores as a worker does, without a process of its own."""

    def __init__(self, settings: Settings, models: Path) -> None:
        self.settings, self.model = settings, FusionModel.load(model_folder_of(models))

    def run(self, task: WorkerTask) -> WorkerReply:
        return score(task, self.settings, self.model)


def reports_of(result: StoredResult) -> list[Dataset]:
    return [dcmread(result.folder / file.name) for file in result.files if file.sop_instance_uid]


class Reported:
    """A phantom's study that is run again and again."""

    def __init__(self, outputs: tuple[ReportKind, ...], phantom: Path, models: Path, folder: Path) -> None:
        settings = load_settings(DEFAULT_FILE).model_copy(update={"outputs": outputs})
        self.objects = ObjectsInFolder()
        for file in sorted(phantom.rglob("*.dcm")):
            header = dcmread(file, stop_before_pixels=True)
            self.study = StudyKey(str(header.StudyInstanceUID))
            uid, series = str(header.SOPInstanceUID), str(header.SeriesInstanceUID)
            self.objects.objects.append(stored_object(uid, file, series=series, study=self.study))
        self.results = ResultStore(new_database(folder), folder / "results")
        self.services = RunServices(
            objects=self.objects,
            results=self.results,
            scorer=InThisProcess(settings, models),
            work_folder=folder / "work",
            objects_digest=digest_of,
        )

    def report(self, digest: str) -> list[Dataset]:
        run = RunInput(self.study, digest, digest_of(self.objects.objects), digest, (), "", urgent=False)
        output, reply = infer(run, assemble(run, 1, self.services), self.services)
        assert failure_of(reply) == ""
        return reports_of(keep_result(run, output, self.services, training_data="synthetic"))


@pytest.mark.parametrize("outputs", [("sr",), ("cam",)], ids="-".join)
def test_a_report_names_and_follows_one_whose_files_were_removed(
    outputs: tuple[ReportKind, ...], phantom_study: PhantomStudy, repository: Path, tmp_path: Path
) -> None:
    reported = Reported(outputs, phantom_study.folder, repository / "models", tmp_path)
    (first,) = reported.report("first")
    reported.results.purge(reported.results.of_study(reported.study))
    (second,) = reported.report("second")
    assert [int(report.InstanceNumber) for report in (first, second)] == [1, 2]
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    named = [
        str(item.ReferencedSOPInstanceUID)
        for study in second.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    assert named == ([str(first.SOPInstanceUID)] if outputs == ("sr",) else [])
    reported.results.purge(reported.results.of_study(reported.study))
    kept = json.loads(reported.results.removed_reports(reported.study))
    tags = {f"{tag_for_keyword(keyword):08X}" for keyword in KEPT_ATTRIBUTES}
    assert len(kept) == 2
    assert all(entry.keys() <= tags for entry in kept), "nothing of the patient is kept"


@pytest.mark.parametrize("outputs", [("sr", "cam", "pdf", "kos"), ("cam", "pdf")], ids="-".join)
def test_instance_numbers_count_up_in_every_series_of_a_study_that_is_reported_again(
    outputs: tuple[ReportKind, ...], phantom_study: PhantomStudy, repository: Path, tmp_path: Path
) -> None:
    """The same tumour with other clinical data: the gateway hands in what it reported before."""
    reported = Reported(outputs, phantom_study.folder, repository / "models", tmp_path)
    made = [reported.report(digest) for digest in ("first", "second", "third")]
    assert [{int(report.InstanceNumber) for report in reports} for reports in made] == [{1}, {2}, {3}]
    everything = [report for reports in made for report in reports]
    assert len({report.SOPInstanceUID for report in everything}) == 3 * len(outputs)
    places = Counter((report.SeriesInstanceUID, int(report.InstanceNumber)) for report in everything)
    assert set(places.values()) == {1}
    assert len({report.SeriesInstanceUID for report in everything}) == len(outputs)
    assert len({int(report.SeriesNumber) for report in everything}) == len(outputs)

"""The steps of a run on real objects: a second report follows the first in its series, whatever kinds a site makes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset, dcmread

from gateway.records import StoredResult, StudyKey
from gateway.worker.child import score
from gateway.worker.messages import WorkerReply, WorkerTask
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


@pytest.mark.parametrize("outputs", [("sr", "cam", "pdf", "kos"), ("cam", "pdf")], ids="-".join)
def test_instance_numbers_count_up_in_every_series_of_a_study_that_is_reported_again(
    outputs: tuple[ReportKind, ...], phantom_study: PhantomStudy, repository: Path, tmp_path: Path
) -> None:
    """The same tumour with other clinical data: the gateway hands in what it reported before."""
    settings = load_settings(DEFAULT_FILE).model_copy(update={"outputs": outputs})
    objects = ObjectsInFolder()
    for file in sorted(phantom_study.folder.rglob("*.dcm")):
        header = dcmread(file, stop_before_pixels=True)
        study = StudyKey(str(header.StudyInstanceUID))
        uid, series = str(header.SOPInstanceUID), str(header.SeriesInstanceUID)
        objects.objects.append(stored_object(uid, file, series=series, study=study))
    services = RunServices(
        objects=objects,
        results=ResultStore(new_database(tmp_path), tmp_path / "results"),
        scorer=InThisProcess(settings, repository / "models"),
        work_folder=tmp_path / "work",
        objects_digest=digest_of,
    )
    made = []
    for digest in ("first", "second", "third"):
        run = RunInput(study, digest, digest_of(objects.objects), digest, (), "", urgent=False)
        output, reply = infer(run, assemble(run, 1, services), services)
        assert failure_of(reply) == ""
        made.append(reports_of(keep_result(run, output, services, training_data="synthetic")))
    assert [{int(report.InstanceNumber) for report in reports} for reports in made] == [{1}, {2}, {3}]
    everything = [report for reports in made for report in reports]
    assert len({report.SOPInstanceUID for report in everything}) == 3 * len(outputs)
    places = Counter((report.SeriesInstanceUID, int(report.InstanceNumber)) for report in everything)
    assert set(places.values()) == {1}
    assert len({report.SeriesInstanceUID for report in everything}) == len(outputs)
    assert len({int(report.SeriesNumber) for report in everything}) == len(outputs)

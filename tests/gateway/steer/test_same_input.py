"""What `show` says of a whole study's run: whether clinical row, model and settings are those of now too, and what follows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread

from gateway.arrival.digest import objects_digest
from gateway.clock import utc_now
from gateway.records import StudyKey
from gateway.steer.same_input import difference_in_words
from gateway.workflow.clinical_table import ClinicalWatch
from gateway.workflow.digest import input_digest, settings_digest
from gateway.workflow.runs import RunNote, RunState
from gateway.workflow.settings import ClinicalTableRules
from gateway.workflow.watch import row_digest
from pdl1es.model.folder import DEFAULT_MODELS, MODEL_FILE, model_folder_of
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.gateway.processes.served import parts_of
from tests.gateway.steer.steered import Steered
from tests.gateway.steer.study_states import opened_objects, put_files
from tests.gateway.workflow.stand_ins import some_run

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


@pytest.mark.parametrize(
    ("state", "row", "model", "said"),
    [
        ("done", True, True, ", this clinical row, model and settings; the same input is not run again"),
        ("done", False, True, "a run with the row of now is asked for within seconds"),
        ("done", True, False, "when something new of the study comes or its clinical row changes, not by itself"),
        ("parked", True, False, "`retry` runs the study with what is there now"),
        ("queued", False, False, "; but its clinical row and the model, app.yaml or this software's version changed"),
        ("stale", False, True, "what is there now takes its place before it is scored"),
    ],
)
def test_what_differs_is_named_with_what_follows(state: RunState, row: bool, model: bool, said: str) -> None:
    run = RunNote(some_run(), state, 1, 1, "", utc_now(), utc_now(), None)
    assert said in difference_in_words(run, same_row=row, same_model=model)


def test_a_changed_row_or_setting_is_told_and_the_same_input_too(steered: Steered, phantom_study: PhantomStudy) -> None:
    ct, contour = parts_of(phantom_study.folder)
    uid = str(dcmread(contour[0]).StudyInstanceUID)
    put_files(steered, [*ct, *contour])
    with opened_objects(steered) as objects:
        there = objects_digest(objects.objects_of(StudyKey(uid)))
    row = row_digest(None)
    model = hashlib.sha256((model_folder_of(DEFAULT_MODELS) / MODEL_FILE).read_bytes()).hexdigest()
    settings = settings_digest(load_settings(DEFAULT_FILE))
    digest = input_digest(objects=there, clinical=row, model=model, settings=settings)
    steered.ledger.enter(replace(some_run(digest, study=StudyKey(uid), objects=there), clinical_digest=row))
    made = f"run {digest[:12]} is made of just these objects (queued)"
    assert f"{made}, this clinical row, model and settings; the same input" in steered.run("show", uid).stdout
    application = steered.folder.parent / "app.yaml"
    application.write_text("outputs: [sr, pdf]\n")
    steered.document["application"] = {"config": str(application)}
    steered.write()
    assert f"{made}; but the model, app.yaml or this software's version changed" in steered.run("show", uid).stdout
    table = steered.folder.parent / "clinical.csv"
    table.write_text("patient_id,age\nnobody,60\n")
    steered.document["clinical"] = {"file": str(table)}
    steered.write()
    rules = ClinicalTableRules(file=table, settled_seconds=0)
    assert ClinicalWatch(steered.engine, steered.folder / "clinical", rules).look(table.stat().st_mtime)
    assert f"{made}; but its clinical row and the model" in steered.run("show", uid).stdout

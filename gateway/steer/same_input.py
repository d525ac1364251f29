"""What differs between a run and what would go into the same study's run now: clinical row, model, settings, software."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from gateway.objects.store import ObjectStore
from gateway.processes.arrivals import header_of
from gateway.processes.setup import CLINICAL_FOLDER
from gateway.settings.file import GatewaySettings
from gateway.steer.overview import Overview
from gateway.workflow.clinical_table import ClinicalWatch
from gateway.workflow.digest import settings_digest
from gateway.workflow.runs import ACTIVE, RunNote
from gateway.workflow.watch import clinical_part, is_as_asked, row_digest
from pdl1es.model.folder import MODEL_FILE, model_folder_of
from pdl1es.settings import Settings

_SAME = "this clinical row, model and settings; the same input is not run again"
_ROW, _MODEL = "its clinical row", "the model, app.yaml or this software's version"


def comparison_with_now(
    settings: GatewaySettings, application: Settings, overview: Overview, objects: ObjectStore
) -> Callable[[RunNote], str]:
    """Return what says of a run of the objects that are here whether the rest of its input is that of now.

    Parameters
    ----------
    settings
        ``gateway.yaml``.
    application
        ``app.yaml``.
    overview
        Of the gateway's database.
    objects
        The object store.

    Returns
    -------
    callable
        From a `RunNote` to words that go on after "made of just these objects".
    """
    model_file = model_folder_of(settings.application.model_folder) / MODEL_FILE
    clinical = ClinicalWatch(overview.engine, settings.folder / CLINICAL_FOLDER, settings.clinical)

    def said(run: RunNote) -> str:
        header = header_of(objects, run.input.study)
        row = row_digest(None if clinical.current is None else clinical_part(clinical, header))
        try:
            model = hashlib.sha256(model_file.read_bytes()).hexdigest()
        except OSError:
            return "; whether model and settings are the same cannot be told: the model cannot be read"
        unchanged = is_as_asked(
            run.input,
            overview.ledger,
            clinical=run.input.clinical_digest,
            model=model,
            settings=settings_digest(application),
        )
        return difference_in_words(run, same_row=row == run.input.clinical_digest, same_model=unchanged)

    return said


def difference_in_words(run: RunNote, *, same_row: bool, same_model: bool) -> str:
    """Return what differs from a run's input now, and what comes of it.

    Parameters
    ----------
    run
        A run of the objects that are here.
    same_row
        Whether the clinical row is that of now.
    same_model
        Whether model, settings and software are those of now.

    Returns
    -------
    str
        It goes on after "made of just these objects".
    """
    if same_row and same_model:
        return f", {_SAME}"
    differing = " and ".join(name for name, same in ((_ROW, same_row), (_MODEL, same_model)) if not same)
    return f"; but {differing} changed since, and {_what_comes(run, same_row=same_row)}"


def _what_comes(run: RunNote, *, same_row: bool) -> str:
    if run.state in ACTIVE or run.state == "stale":
        return "what is there now takes its place before it is scored"
    if run.state == "parked":
        return "`retry` runs the study with what is there now"
    if not same_row:
        return "where the gateway runs, a run with the row of now is asked for within seconds"
    return "it is run with what is there now when something new of the study comes or its clinical row changes, not by itself"

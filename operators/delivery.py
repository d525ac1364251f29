"""Delivery: study, assessment and reports in, the files in the output folder and the run's outcome out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operators.step import StepOperator, Stopped
from pdl1es.assessment import Assessment
from pdl1es.chain import ChainEnd, RunRequest, reports_in_order
from pdl1es.dicom.study import Study
from pdl1es.outcome import Outcome, deliver
from pdl1es.report.delivery import BuiltReport
from pdl1es.stopwatch import Stopwatch


class DeliveryOperator(StepOperator):
    """Emit ``outcome``: what was written, whether the study was scored, refused, or ended by a defect."""

    step = "delivery"
    emits = "outcome"

    def __init__(self, fragment: Any, *, request: RunRequest, output_folder: Path, watch: Stopwatch) -> None:
        self.request = request
        self.output_folder = output_folder
        super().__init__(fragment, watch=watch)

    def process(
        self,
        study: Study,
        assessment: Assessment,
        sr: BuiltReport | None,
        cam: BuiltReport | None,
        pdf: BuiltReport | None,
    ) -> Outcome:
        """Write the reports, then ``result.json``.

        Parameters
        ----------
        study
            What the input held.
        assessment
            The scored tumour.
        sr, cam, pdf
            The reports; None where the settings do not ask for one.

        Returns
        -------
        Outcome
            What was written.
        """
        return self._deliver(ChainEnd(study, assessment, reports_in_order(sr, cam, pdf)))

    def after_stop(self, received: dict[str, Any], stopped: Stopped) -> Outcome:
        """Write what stopped the chain: a refusal and its report, or the defect.

        Parameters
        ----------
        received
            What the input ports hold; the study, where it was read before the chain stopped.
        stopped
            The step and its error.

        Returns
        -------
        Outcome
            With the refusal, or with the defect's exit code.
        """
        study = received["study"]
        return self._deliver(ChainEnd(None if isinstance(study, Stopped) else study, error=stopped.error))

    def _deliver(self, end: ChainEnd) -> Outcome:
        return deliver(end, self.request, self.output_folder, self.watch.seconds)

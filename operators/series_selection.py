"""Series selection: a study in, the one CT series and the one tumour segment out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.selection.survey import Selection, select
from pdl1es.dicom.study import Study


class SeriesSelectionOperator(Step):
    """Emit ``selection``: what will be scored, and why nothing else."""

    inputs = ("study",)
    outputs = ("selection",)

    def __init__(
        self, fragment: Any, *, rules: SelectionRules, protocol: ProtocolRules, record: RunRecord, name: str
    ) -> None:
        self.rules = rules
        self.protocol = protocol
        super().__init__(fragment, record=record, name=name)

    def process(self, study: Study) -> Mapping[str, Selection]:
        """Choose."""
        return {"selection": select(study, self.rules, self.protocol)}

"""Series selection: a study in, the one CT series and the one tumour segment out."""

from __future__ import annotations

from typing import Any

from operators.step import StepOperator
from pdl1es.chain import select_tumour
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.selection.survey import Selection
from pdl1es.dicom.study import Study
from pdl1es.stopwatch import Stopwatch


class SeriesSelectionOperator(StepOperator):
    """Emit ``selection``: the series and segment that will be scored, with the reasons against all others."""

    step = "series_selection"
    emits = "selection"

    def __init__(self, fragment: Any, *, rules: SelectionRules, protocol: ProtocolRules, watch: Stopwatch) -> None:
        self.rules = rules
        self.protocol = protocol
        super().__init__(fragment, watch=watch)

    def process(self, study: Study) -> Selection:
        """Choose."""
        return select_tumour(study, self.rules, self.protocol)

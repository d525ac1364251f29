"""What the operators that build a report have in common."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from operators.step import StepOperator
from pdl1es.report.options import ReportOptions
from pdl1es.settings import OutputKind
from pdl1es.stopwatch import Stopwatch


class ReportOperator(StepOperator):
    """Builds one kind of report, or emits None where the settings want none."""

    def __init__(
        self, fragment: Any, *, options: ReportOptions, kinds: Collection[OutputKind], watch: Stopwatch
    ) -> None:
        self.options = options
        self.kinds = kinds
        super().__init__(fragment, watch=watch)

"""The last operator: keeps the run's outcome for its caller."""

from __future__ import annotations

from typing import Any

from operators.monai_deploy import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext
from operators.step import Stopped
from pdl1es.outcome import Outcome


class OutcomeOperator(Operator):
    """Takes ``outcome`` and emits nothing.

    Attributes
    ----------
    received
        The outcome, or why there is none; None until the operators have ended.
    """

    def __init__(self, fragment: Any) -> None:
        self.received: Outcome | Stopped | None = None
        super().__init__(fragment, name="outcome")

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port (called by the framework)."""
        spec.input("outcome")

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:
        """Keep what was received (called by the framework).

        Parameters
        ----------
        op_input
            Holds ``outcome``.
        op_output, context
            Not used.
        """
        self.received = op_input.receive("outcome")

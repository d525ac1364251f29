"""What every operator of the chain has in common: ports by name, one function to call, and the time it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from holoscan.core import ExecutionContext, InputContext, OutputContext
from monai.deploy.core import Operator, OperatorSpec

from operators.run_record import RunRecord


class Step(Operator):
    """One step: takes what its input ports hold, calls a function of ``pdl1es``, and emits what it gives.

    A subclass names its ports in ``inputs`` and ``outputs`` and defines `process`.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ()
    process: Callable[..., Mapping[str, Any]]
    """What the input ports hold, by name, to what the output ports emit, by name."""

    def __init__(self, fragment: Any, *conditions: Any, record: RunRecord, name: str) -> None:
        self.record = record
        super().__init__(fragment, *conditions, name=name)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports (called by the framework)."""
        for port in self.inputs:
            spec.input(port)
        for port in self.outputs:
            spec.output(port)

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:
        """Run the step once (called by the framework)."""
        received = {port: op_input.receive(port) for port in self.inputs}
        with self.record.timed(self.name):
            emitted = self.process(**received)
        for port in self.outputs:
            op_output.emit(emitted[port], port)

"""Shared by all operators: typed ports, the call of one step, its time, and the handling of errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, get_type_hints

from operators.monai_deploy import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext
from pdl1es.chain import STEPS
from pdl1es.dicom.free_text import free_text_shown
from pdl1es.stopwatch import Stopwatch

PortType = Any
"""A class, or a union of classes; what ``isinstance`` takes."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Passed on instead of a value where a step failed.

    Attributes
    ----------
    step
        The step that stopped.
    error
        What stopped it: a refusal, or a defect.
    """

    step: str
    error: Exception


class StepOperator(Operator):
    """One step of the chain: calls a function of `pdl1es.chain` with what its input ports hold, and emits what it gives.

    A subclass defines `process`, whose parameters are the input ports and whose annotations are the ports' types, and
    names its output port in ``emits``. An exception stops the chain: it is passed on from port to port in the value's
    place, so that the last operator can report it together with the study.
    """

    step: ClassVar[str]
    """The step's name in `pdl1es.chain.STEPS`."""
    emits: ClassVar[str]
    """Name of the output port."""
    process: Callable[..., Any]
    """Takes what the input ports hold, by name; returns what the output port emits."""
    show_free_text: bool = False
    """``report.show_free_text``: the framework's threads do not see what the caller's thread has allowed."""

    def __init__(self, fragment: Any, *conditions: Any, watch: Stopwatch) -> None:
        self.watch = watch
        super().__init__(fragment, *conditions, name=self.step)

    @classmethod
    def inputs(cls) -> dict[str, PortType]:
        """Return the input ports' types by name."""
        hints = get_type_hints(cls.process)
        return {name: hints[name] for name in list(inspect.signature(cls.process).parameters)[1:]}

    @classmethod
    def output(cls) -> PortType:
        """Return the output port's type."""
        return get_type_hints(cls.process)["return"]

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports (called by the framework)."""
        for port in self.inputs():
            spec.input(port)
        spec.output(self.emits)

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:
        """Run the step once (called by the framework).

        Parameters
        ----------
        op_input
            Holds the values of `inputs`, or `Stopped`.
        op_output
            Gets the step's value, or `Stopped`.
        context
            Not used.
        """
        received = {port: op_input.receive(port) for port in self.inputs()}
        with free_text_shown(self.show_free_text):
            value = self.passed_on(received)
        op_output.emit(value, self.emits)

    def passed_on(self, received: dict[str, Any]) -> Any:
        """Return what the output port emits: the step's value, or what stopped the chain.

        Parameters
        ----------
        received
            What the input ports hold; of several `Stopped`, the one of the earliest step counts.
        """
        stopped = first_stopped(received)
        try:
            if stopped is not None:
                return self.after_stop(received, stopped)
            for port, expected in self.inputs().items():
                require_type(f"port {port} of {self.step}", received[port], expected)
            with self.watch.timed(self.step):
                value = self.process(**received)
            require_type(f"port {self.emits} of {self.step}", value, self.output())
        except Exception as error:  # noqa: BLE001 - not hidden: the last operator reports or logs it
            return Stopped(self.step, error)
        return value

    def after_stop(self, received: dict[str, Any], stopped: Stopped) -> Any:
        """Return what is emitted where an earlier step stopped the chain.

        Parameters
        ----------
        received
            What the input ports hold.
        stopped
            The earliest of them that stopped.

        Returns
        -------
        object
            ``stopped``, unless a subclass knows better.
        """
        return stopped


def first_stopped(received: dict[str, Any]) -> Stopped | None:
    """Return what stopped the chain. Of several, the earliest step's counts, because plain calls would have raised that one."""
    stopped = [value for value in received.values() if isinstance(value, Stopped)]
    return min(stopped, key=lambda value: STEPS.index(value.step), default=None)


def require_type(where: str, value: Any, expected: PortType) -> None:
    """Refuse what a port does not declare.

    Parameters
    ----------
    where
        The port, for the message.
    value
        What it gets.
    expected
        What it declares.

    Raises
    ------
    TypeError
        It gets something else.
    """
    if not isinstance(value, expected):
        raise TypeError(f"{where} takes {expected}, got {type(value)}")

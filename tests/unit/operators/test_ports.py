"""The operators' ports: every one has a type, and what does not fit stops the chain."""

from __future__ import annotations

from typing import Any

import pytest

from app.application import PDL1ESApplication
from operators.monai_deploy import Application
from operators.step import StepOperator, Stopped, first_stopped
from pdl1es.chain import STEPS
from pdl1es.errors import RefusalCode
from pdl1es.stopwatch import Stopwatch


def operators() -> list[type[StepOperator]]:
    """Return every operator's class, in the order of the chain."""
    known: list[type[StepOperator]] = []
    waiting = list(StepOperator.__subclasses__())
    while waiting:
        found = waiting.pop()
        waiting += found.__subclasses__()
        if hasattr(found, "step") and found.__module__.startswith("operators."):
            known.append(found)
    return sorted(known, key=lambda operator: STEPS.index(operator.step))


def test_there_is_one_operator_for_each_step() -> None:
    assert tuple(operator.step for operator in operators()) == STEPS


@pytest.mark.parametrize("operator", operators(), ids=lambda operator: operator.step)
def test_every_input_is_emitted_by_an_earlier_step_as_the_same_type(operator: type[StepOperator]) -> None:
    earlier = {
        other.emits: other.output() for other in operators() if STEPS.index(other.step) < STEPS.index(operator.step)
    }
    for port, expected in operator.inputs().items():
        assert expected is not Any
        assert earlier[port] == expected


class Halving(StepOperator):
    """An operator that takes a number."""

    step = "resample"
    emits = "half"

    def process(self, number: int) -> int:
        """Halve it, if it can be halved."""
        return number // 2 if number % 2 == 0 else "no half"  # type: ignore[return-value]  # the fault under test


@pytest.fixture
def halving() -> Halving:
    return Halving(Application([]), watch=Stopwatch())


def test_a_value_of_the_declared_type_is_passed_on_and_timed(halving: Halving) -> None:
    assert halving.passed_on({"number": 4}) == 2
    assert list(halving.watch.seconds) == ["resample"]


@pytest.mark.parametrize(("number", "says"), [("4", "port number of resample"), (3, "port half of resample")])
def test_a_value_of_another_type_stops_the_chain_at_its_port(halving: Halving, number: object, says: str) -> None:
    stopped = halving.passed_on({"number": number})
    assert isinstance(stopped, Stopped)
    assert stopped.step == "resample"
    assert isinstance(stopped.error, TypeError)
    assert says in str(stopped.error)


def test_what_stopped_an_earlier_step_is_passed_on_and_the_step_is_not_run(halving: Halving) -> None:
    late, early = Stopped("radiomics", ValueError("late")), Stopped("study_loader", ValueError("early"))
    assert first_stopped({"a": late, "b": early, "c": 1}) is early
    assert halving.passed_on({"number": late}) is late
    assert halving.watch.seconds == {}


def test_operators_that_do_not_fit_together_are_not_connected(halving: Halving) -> None:
    with pytest.raises(TypeError, match="no operator emits number of resample"):
        PDL1ESApplication.connect(object(), halving)  # type: ignore[arg-type]  # it connects nothing


def test_every_refusal_is_tested_by_a_step_or_before_the_steps() -> None:
    """The table's stage is a step's name; the model is looked at before the steps."""
    assert {code.row.stage for code in RefusalCode} <= {*STEPS, "model"}

"""A number that the data do not hold is said to be missing, with the reason, and ends nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class NotEstimable:
    """What stands in the place of a result, and why: one class only, a group without events, too few patients."""

    reason: str


def estimated(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Result | NotEstimable:
    """Call a function of `training.statistics`; its ValueError (`NoFiniteEstimate` is one) becomes the reason."""
    try:
        return function(*arguments, **options)
    except ValueError as error:
        return NotEstimable(str(error))

"""A number that the data do not allow is missing with a reason, and ends no analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class NotEstimable:
    """Replaces a result that cannot be estimated, with the reason: one class only, a group without events, too few patients."""

    reason: str


def estimated(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Result | NotEstimable:
    """Call a function of `training.statistics`; its ValueError (`NoFiniteEstimate` is one) becomes the reason."""
    try:
        return function(*arguments, **options)
    except ValueError as error:
        return NotEstimable(str(error))

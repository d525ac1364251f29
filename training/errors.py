"""The two kinds of errors with which the training's commands end; each is a sentence with a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UsageError(ValueError):
    """The input cannot be used; a command ends with this sentence and exit code 2."""


class FailedError(RuntimeError):
    """The input is right, but a step failed; a command ends with this sentence and exit code 1."""


def validation_reasons(error: ValidationError) -> str:
    """Return what pydantic found wrong in one sentence: field by field, with the reason."""
    return "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())

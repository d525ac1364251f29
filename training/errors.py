"""How the training's commands end when something is wrong: two kinds of errors, each a sentence with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UsageError(ValueError):
    """What was given cannot be used; a command ends with this sentence and exit code 2."""


class FailedError(RuntimeError):
    """What was given is right, and a step failed nevertheless; a command ends with this sentence and exit code 1."""


def validation_reasons(error: ValidationError) -> str:
    """Return what pydantic found wrong in one sentence: field by field, with the reason."""
    return "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())

"""How the training's commands end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pdl1es.console import ended, usage_error
from pdl1es.exit_code import ExitCode


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn errors with a remedy into a sentence and an exit code; any other error keeps its traceback.

    What a user can put right ends with exit code 2, a step that failed with 1.
    """
    from pdl1es.errors import Refusal
    from pdl1es.settings_file import SettingsError
    from training.errors import FailedError, UsageError

    try:
        yield
    except FailedError as error:
        raise ended(str(error), ExitCode.DEFECT) from error
    except (UsageError, SettingsError, Refusal) as error:
        raise usage_error(str(error)) from error

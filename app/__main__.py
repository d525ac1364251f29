"""``python app``: the chain as a MAP runs it, through MONAI Deploy; its paths from the HOLOSCAN_* variables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a folder: the packages lie beside it
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def execute(*run: Any) -> Any:
    """Take a study through the operators (`app.run.run_operators`); MONAI Deploy is loaded here, not before."""
    from app.run import run_operators

    return run_operators(*run)


def main() -> None:
    """Score the study at ``HOLOSCAN_INPUT_PATH`` into ``HOLOSCAN_OUTPUT_PATH`` by the model at ``HOLOSCAN_MODEL_PATH``.

    Arguments, where there are any, are those of ``pdl1es run``, or a command of ``pdl1es`` and its arguments.
    """
    from pdl1es.command_line.cli import command_line, command_names
    from pdl1es.command_line.process import collect_garbage_rarely, limit_blas_threads

    limit_blas_threads()
    collect_garbage_rarely()
    arguments = sys.argv[1:] or _of_the_environment()
    if arguments[0] not in command_names():
        arguments = ["run", *arguments]
    command_line(arguments, name="python app", execute=execute)


def _of_the_environment() -> list[str]:
    from operators.monai_deploy import RuntimeEnv
    from pdl1es.model.folder import DEFAULT_MODELS

    environment = RuntimeEnv({"model": ("HOLOSCAN_MODEL_PATH", str(DEFAULT_MODELS))})
    return [environment.input, environment.output, "--model", environment.model]


if __name__ == "__main__":
    main()

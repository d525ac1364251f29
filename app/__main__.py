"""``python app``: the chain as a MAP runs it, its paths from the HOLOSCAN_* variables."""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a folder: the packages lie beside it
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    """Score the study at ``HOLOSCAN_INPUT_PATH`` into ``HOLOSCAN_OUTPUT_PATH`` by the model at ``HOLOSCAN_MODEL_PATH``.

    Arguments, where there are any, are those of ``pdl1es run``, or a command of ``pdl1es`` and its arguments.
    """
    import operators  # noqa: F401 - prepares Holoscan before MONAI Deploy imports it
    from pdl1es.command_line.cli import app
    from pdl1es.model.folder import DEFAULT_MODELS

    arguments = sys.argv[1:]
    if not arguments:
        from monai.deploy.core import RuntimeEnv

        environment = RuntimeEnv({"model": ("HOLOSCAN_MODEL_PATH", str(DEFAULT_MODELS))})
        arguments = [environment.input, environment.output, "--model", environment.model]
    if arguments[0] not in {
        command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands
    }:
        arguments = ["run", *arguments]
    app(arguments, prog_name="python app")


if __name__ == "__main__":
    main()

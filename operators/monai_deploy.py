"""MONAI Deploy's and Holoscan's classes. Import them from here: Holoscan has to be prepared before it is loaded."""

from operators.holoscan_runtime import prepare_holoscan

prepare_holoscan()

from holoscan.core import ExecutionContext, InputContext, OutputContext  # noqa: E402
from monai.deploy.conditions import CountCondition  # noqa: E402
from monai.deploy.core import Application, Operator, OperatorSpec, RuntimeEnv  # noqa: E402

__all__ = [
    "Application",
    "CountCondition",
    "ExecutionContext",
    "InputContext",
    "Operator",
    "OperatorSpec",
    "OutputContext",
    "RuntimeEnv",
]

"""From a hospital's cohort to the ONNX file that the chain serves."""

import pdl1es  # noqa: F401 - switches onnxruntime's telemetry off before any module here imports onnxruntime

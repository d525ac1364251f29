"""From a hospital's cohort to the ONNX file that the chain serves."""

"""The fusion model: one ONNX file that holds everything from HU to score, and the code that runs it."""

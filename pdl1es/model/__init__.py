"""The fusion model: one ONNX file that holds everything from HU to score, and what runs it."""

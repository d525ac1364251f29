"""Replication: a published radiomics signature as a file, exported as ONNX and evaluated on a cohort beside tumour volume."""

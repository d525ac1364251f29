"""The 1316 radiomic features: pyradiomics' definition and values, with its slow parts replaced."""

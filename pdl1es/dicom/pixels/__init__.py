"""Stored pixels of DICOM objects: their layout, their frames, their decoding, and Hounsfield units."""

"""Stored pixels of DICOM objects: their layout, their frames, their decoding, and Hounsfield units.

``hounsfield`` reads a CT slice in HU, ``frames`` any object's stored values; both go by ``layout``, the header's words
about the pixels. ``segment_reader`` reads one segment of a SEG. ``rle`` and ``decoder`` decode what is
compressed; ``decoder_process`` is run in a process of its own.
"""

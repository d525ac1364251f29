"""Limits on untrusted input: settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ScanLimits(BaseModel):
    """Size, depth and time that a folder of untrusted files is given.

    A study that exceeds ``max_files``, ``max_total_bytes`` or ``seconds`` is refused. A file that exceeds one of the
    others is given up alone. A run that takes longer than ``seconds_total`` is refused, and so is a tumour whose features
    would take more than ``memory_bytes``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    max_files: int = Field(default=50_000, gt=0, description="files in the folder, DICOM or not")
    max_total_bytes: int = Field(default=64 * 2**30, gt=0, description="size of all files together, bytes")
    max_file_bytes: int = Field(default=4 * 2**30, gt=0, description="size of one file, bytes")
    max_header_bytes: int = Field(default=64 * 2**20, gt=0, description="bytes before the pixel data of one file")
    max_sequence_items: int = Field(default=500_000, gt=0, description="sequence items in one header")
    max_sequence_depth: int = Field(default=16, gt=0, description="nesting of sequences in one header")
    seconds: float = Field(default=300.0, gt=0, description="time for reading all headers, s")
    seconds_total: float = Field(default=1800.0, gt=0, description="time for a whole run, from start to report, s")
    memory_bytes: int = Field(
        default=3 * 2**30, gt=0, description="memory that the features of one tumour may take, by estimate, bytes"
    )

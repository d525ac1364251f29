"""Writes one self-contained report: ``report.html`` with all figures, ``report.json`` with all numbers."""

from __future__ import annotations

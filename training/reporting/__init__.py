"""One report that a reader needs nothing else for: ``report.html`` with every figure in it, ``report.json`` with every number."""

from __future__ import annotations

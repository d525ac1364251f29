"""Controls: the same patients with disturbed inputs, or scanned again."""

from __future__ import annotations

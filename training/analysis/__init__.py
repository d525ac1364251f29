"""Both analyses of a scored cohort, from a finished run or any exported model."""

from __future__ import annotations

"""What a synthetic cohort's known truth says of a model."""

from __future__ import annotations

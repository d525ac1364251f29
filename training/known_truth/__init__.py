"""Compares a model with a synthetic cohort's known truth."""

from __future__ import annotations

"""Scores of a prepared cohort: by exported models, by tumour volume alone, by the known truth."""

from __future__ import annotations

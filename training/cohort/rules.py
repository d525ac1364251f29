"""Numbers by which a cohort's table is judged."""

from __future__ import annotations

from typing import Final

HIGH_EXPRESSION_TPS: Final = 50.0
"""Tumour proportion score (%) from which expression counts as high (paper, Methods)."""
LONGEST_INTERVAL_DAYS: Final = 90
"""Between CT and PD-L1 test; a longer one warns. The paper states none; PD-L1 changes with time and treatment."""

"""How well the score tells high PD-L1 expression."""

from __future__ import annotations

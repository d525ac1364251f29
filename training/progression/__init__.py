"""What the score says of progression under immunotherapy."""

from __future__ import annotations

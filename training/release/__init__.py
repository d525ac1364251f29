"""What a training run gives the chain: the model's file with its cut-offs, card and metadata."""

from __future__ import annotations

"""Makes the files that the chain gets of a training run: the model with its cut-offs, card and metadata."""

from __future__ import annotations

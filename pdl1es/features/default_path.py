"""Which way computes the features: the compiled kernels, or numpy and other packages where they were not built.

The kernels are one C file for each subject in `pdl1es/features/kernels`, each with its source: `laplacian.c`, `wavelet.c`,
`gradient.c`, `pattern.c` (filters), `grey_levels.c`, `matrices.c` (texture), `moments.c` (first order), `shape.c`; `module.c`
checks what Python hands over. They give the numpy path's values to the bit.
"""

from __future__ import annotations

from typing import Final, Literal

PathName = Literal["compiled", "numpy"]
"""A way to compute the features; both give the same values."""


def _path() -> PathName:
    try:
        from pdl1es.features import compiled  # noqa: F401
    except ImportError:
        return "numpy"
    return "compiled"


DEFAULT_PATH: Final = _path()
"""The way of this installation; `result.json` names it."""

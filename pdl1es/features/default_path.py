"""Which way computes the features here: the compiled kernels, or numpy and other packages.

numpy computes them where the kernels were not built, and where they give other values on this machine than the packages
that they stand for. The features are the same either way; `result.json` and the log tell which way it was and why.
"""

from __future__ import annotations

import logging
from typing import Final

from pdl1es.features.extraction_path import NUMPY, ExtractionPath, compiled_path
from pdl1es.features.kernel_check import kernel_difference
from pdl1es.features.upstream_check import check_upstream

logger = logging.getLogger("pdl1es")


def choose_path() -> tuple[ExtractionPath, str | None]:
    """Choose the compiled kernels if they are there and agree with the numpy path.

    Returns
    -------
    path : ExtractionPath
    reason : str or None
        Why it is numpy's; None for the kernels.
    """
    try:
        compiled = compiled_path()
    except ImportError:
        return NUMPY, "the compiled kernels were not built"
    if (difference := kernel_difference(compiled)) is None:
        return compiled, None
    reason = f"the compiled kernels are not used: {difference}"
    logger.warning(
        "%s. numpy computes the features: the same values, more slowly. Build the package from its sources on this "
        "machine; if that does not help, report it with the processor's name",
        reason,
    )
    return NUMPY, reason


check_upstream()
_path, _reason = choose_path()

DEFAULT: Final = _path
"""The way of this installation; `result.json` names it."""

WHY_NUMPY: Final = _reason
"""Why it is numpy's; None for the compiled kernels."""

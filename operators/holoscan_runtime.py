"""Make Holoscan loadable and quiet on a machine without CUDA, before anything imports it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import resource
import warnings
from pathlib import Path

STACK_BYTES = 32 * 1024 * 1024
"""Holoscan warns below this soft limit."""


def _load_cuda_runtime() -> None:
    """Load libcudart from its wheel where the system has none: holoscan's own library links against it by name."""
    try:
        ctypes.CDLL("libcudart.so.13", mode=ctypes.RTLD_GLOBAL)
        return
    except OSError:
        pass  # not in the loader's path, so take it from the wheel
    package = importlib.util.find_spec("nvidia")
    for folder in package.submodule_search_locations or () if package else ():
        library = Path(folder) / "cu13" / "lib" / "libcudart.so.13"
        if library.is_file():
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            return


def prepare_holoscan() -> None:
    """Load the CUDA runtime, raise the stack's soft limit, and let Holoscan log only its errors.

    ``HOLOSCAN_LOG_LEVEL`` wins where it is set.
    """
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "OFF")
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if (
        soft != resource.RLIM_INFINITY
        and soft < STACK_BYTES
        and (hard == resource.RLIM_INFINITY or hard >= STACK_BYTES)
    ):
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))
    warnings.filterwarnings("ignore", message="Current stack size", category=RuntimeWarning)
    _load_cuda_runtime()

"""Finds out which of onnxruntime's execution providers can run here, before onnxruntime would log errors."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import onnxruntime

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"

CUDA_OPTIONS: Final[dict[str, str]] = {
    # TF32 rounds to 10 bits; the score has to agree with the CPU's within 1e-5.
    "use_tf32": "0",
    # An exhaustive search times the algorithms and may choose another one in the next run.
    "cudnn_conv_algo_search": "HEURISTIC",
}
CUDA_LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "12": ("libcudart.so.12", "libcublasLt.so.12", "libcublas.so.12", "libcurand.so.10", "libcufft.so.11"),
    "13": ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10"),
}
"""What onnxruntime's CUDA provider links, by the CUDA version that it was built for."""
CUDNN_LIBRARY: Final = "libcudnn.so.9"


def cuda_obstacle() -> str | None:
    """Return the reason why the CUDA provider cannot run here.

    Loads NVIDIA's driver and libraries to see whether they are there, and prints nothing.

    Returns
    -------
    str or None
        None where a device and every library were found.
    """
    if CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime has no CUDA provider"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver offers no device"
    version = str(onnxruntime.cuda_version or "").partition(".")[0]
    libraries = CUDA_LIBRARIES.get(version)
    if libraries is None:
        return f"onnxruntime was built for CUDA {version or 'of no version'}, which is not known here"
    for library in (*libraries, CUDNN_LIBRARY):
        if not _loads(library):
            return f"{library} cannot be loaded"
    return None


def providers(obstacle: str | None) -> list[str | tuple[str, dict[str, Any]]]:
    """Return what to offer to an onnxruntime session, given `cuda_obstacle`'s answer."""
    return [CPU] if obstacle else [(CUDA, CUDA_OPTIONS), CPU]


def _loads(library: str) -> bool:
    """Load a library from the system's path, or from NVIDIA's Python packages, and leave it loaded."""
    spec = find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    installed = [str(path) for root in roots for path in sorted(Path(root).glob(f"*/lib/{library}"))]
    for candidate in (*installed, library):
        try:
            ctypes.CDLL(candidate)
        except OSError:
            continue
        return True
    return False

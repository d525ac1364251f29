"""Adds to the package what pyproject.toml cannot say: the compiled kernels, and what ships beside the package.

The kernels are C for Python's stable ABI: one build serves every Python from 3.11 on. The default settings and the
demonstration model stay at the top of the repository, where the MAP packager and whoever maintains them look for them; an
installed package holds them inside itself (``pdl1es/shipped.py`` finds both).
"""

import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
KERNELS = Path("pdl1es/features/kernels")

EXTENSION = Extension(
    "pdl1es.features.compiled",
    sources=sorted(str(path.relative_to(ROOT)) for path in (ROOT / KERNELS).glob("*.c")),
    depends=[str(KERNELS / "kernels.h")],
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
    py_limited_api=True,
    # No fused multiply-adds: the bits must not depend on what the processor has.
    extra_compile_args=[
        "-std=c11",
        "-O3",
        "-ffp-contract=off",
        "-fvisibility=hidden",
        "-Wextra",
        "-Wno-unused-parameter",
    ],
    libraries=["m"],
)


class BuildWithSettingsAndModel(build_py):
    """setuptools' step, and after it ``pdl1es/app.yaml`` and ``pdl1es/models``."""

    def run(self) -> None:
        """Copy the package, then what ships beside it; an editable installation reads the checkout's own."""
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib) / "pdl1es"
        shutil.copyfile(ROOT / "app.yaml", package / "app.yaml")
        shutil.rmtree(package / "models", ignore_errors=True)  # of an earlier build
        shutil.copytree(ROOT / "models", package / "models")


setup(
    cmdclass={"build_py": BuildWithSettingsAndModel},
    ext_modules=[EXTENSION],
    # The wheel says so too: cp311-abi3.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

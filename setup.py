"""Adds what ships beside the package to the wheel: the default settings and the demonstration model.

They stay at the top of the repository, where the MAP packager and whoever maintains them look for them; an installed
package holds them inside itself (``pdl1es/shipped.py`` finds both).
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


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


setup(cmdclass={"build_py": BuildWithSettingsAndModel})

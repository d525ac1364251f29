"""Where the files lie that ship with the software: the default settings and the demonstration model.

An installed package holds them inside itself. In a checkout and in the container image they lie beside the package,
where maintainers and the MAP packager look for them.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped_path(name: str) -> Path:
    """Return a file or folder that ships: inside the package where it is there, else beside the package.

    Parameters
    ----------
    name
        ``"app.yaml"`` or ``"models"``.

    Returns
    -------
    Path
        It may be missing; whoever reads it says so.
    """
    # A path, not a temporary copy: the package is installed as files and never imported from an archive.
    package = Path(str(files("pdl1es")))
    inside = package / name
    return inside if inside.exists() else package.parent / name

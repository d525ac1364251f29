"""A PDF page as poppler shows it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from tests.e2e.written_reports import one_line


def page_text(pdftotext: str, pdf: bytes) -> str:
    """Its text in reading order, on one line."""
    done = subprocess.run(
        [pdftotext, "-enc", "UTF-8", "-", "-"], input=pdf, capture_output=True, check=True, timeout=60
    )
    return one_line(done.stdout.decode("utf-8"))


def rendered_page(pdftoppm: str, pdf: bytes, name: Path) -> Image.Image:
    """The page as a picture, which is also kept as ``<name>.png``."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.pdf"
        source.write_bytes(pdf)
        subprocess.run(
            [pdftoppm, "-r", "110", "-png", "-singlefile", str(source), str(name)],
            check=True,
            timeout=60,
            capture_output=True,
        )
    with Image.open(name.with_suffix(".png")) as picture:
        return picture.convert("RGB")

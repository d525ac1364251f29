"""How equal the 1316 features are to pyradiomics', on 500 synthetic tumours and on real ones.

Run from the repository::

    python -m benchmarks.equality [--tumours 500] [--data FOLDER] [--output benchmarks/results/equality.md]

Each tumour's features are computed by the compiled kernels, by numpy and by pyradiomics as it comes. The synthetic ones are
those of the tests (``tests/unit/features/tumours.py``), by number: fifteen kinds take turns, odd ones among them. The
tests compare the first thirty. ``--data`` (or PDL1ES_SHARED_DATA) adds the real tumours and the cropped ones.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK

from benchmarks.radiomics import machine, real_cases
from pdl1es.features import default_path, extraction_path
from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.names import FEATURE_NAMES
from tests.unit.features.stock import stock_extraction
from tests.unit.features.tumours import Tumour, synthetic_tumour

REPOSITORY = Path(__file__).resolve().parent.parent
RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""What counts as equal: within either."""


@dataclass
class Kind:
    """What was found of one kind of tumour."""

    tumours: int = 0
    voxels: list[int] = field(default_factory=list)
    apart: int = 0
    nan_apart: int = 0
    missing: int = 0
    largest: float = 0.0
    where: str = ""
    bits_apart: int = 0

    def add(self, tumour: Tumour) -> None:
        """Compute a tumour's features in three ways and compare them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = stock_extraction(tumour.hu, tumour.mask)
            ours = extract_radiomics(tumour.hu, tumour.mask).values
            by_numpy = extract_radiomics(tumour.hu, tumour.mask, path=extraction_path.NUMPY).values
        self.tumours += 1
        self.voxels.append(int(np.count_nonzero(tumour.mask)))
        self.nan_apart += int((np.isnan(ours) != np.isnan(theirs)).sum())
        self.missing += int(np.isnan(theirs).sum())
        # NaN with another sign bit is no difference.
        same = (ours.view(np.int64) == by_numpy.view(np.int64)) | (np.isnan(ours) & np.isnan(by_numpy))
        self.bits_apart += int((~same).sum())
        apart = np.nan_to_num(np.abs(ours - theirs))
        relative = np.where(apart <= ABSOLUTE, 0.0, apart / np.maximum(np.abs(np.nan_to_num(theirs)), 1e-300))
        self.apart += int((relative > RELATIVE).sum())
        if relative.max() > self.largest:
            self.largest, self.where = float(relative.max()), FEATURE_NAMES[int(relative.argmax())]

    def row(self, name: str) -> str:
        """Return a line of the table."""
        voxels = f"{min(self.voxels)} to {max(self.voxels)}" if self.tumours > 1 else str(self.voxels[0])
        largest = f"{self.largest:.1e} ({self.where})" if self.largest else "0"
        return (
            f"| {name} | {self.tumours} | {voxels} | {self.tumours * len(FEATURE_NAMES)} | {self.missing} | {self.nan_apart} "
            f"| {self.apart} | {largest} | {self.bits_apart} |"
        )


def cropped_tumours(data: Path) -> Iterator[tuple[str, Tumour]]:
    """Read the cropped tumours, on the grid that they have."""
    for path in sorted((data / "tumour_crops").glob("*_ct.nrrd")):
        hu = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path).replace("_ct.nrrd", "_mask.nrrd"))) > 0
        yield path.name.removesuffix("_ct.nrrd"), Tumour("crop", hu.astype(np.int16), mask)


def equality_report(tumours: int, data: Path | None) -> str:
    """Compare all of them and return the table as Markdown.

    Parameters
    ----------
    tumours
        How many synthetic ones.
    data
        Folder of the real ones, or None.

    Returns
    -------
    str
    """
    begin, load = time.process_time(), os.getloadavg()[0]
    kinds: dict[str, Kind] = {}
    for number in range(tumours):
        tumour = synthetic_tumour(number)
        kinds.setdefault(tumour.kind, Kind()).add(tumour)
    if data:
        for case in real_cases(data):
            kinds.setdefault(case.name, Kind()).add(Tumour("real", case.hu, case.mask))
        for name, tumour in cropped_tumours(data):
            kinds.setdefault(name, Kind()).add(tumour)
    total = Kind(
        tumours=sum(kind.tumours for kind in kinds.values()),
        voxels=[voxels for kind in kinds.values() for voxels in kind.voxels],
        **{
            name: sum(getattr(kind, name) for kind in kinds.values())
            for name in ("apart", "nan_apart", "missing", "bits_apart")
        },
    )
    worst = max(kinds.values(), key=lambda kind: kind.largest)
    total.largest, total.where = worst.largest, worst.where
    lines = [
        "# Features: how equal to pyradiomics",
        "",
        f"Machine: {machine()}; load {load:.1f} at the start, {time.process_time() - begin:.0f} s of processor time.",
        "",
        f"`python -m benchmarks.equality`: *ours* is the {default_path.DEFAULT.name} path. A feature is *apart* where it "
        f"differs from pyradiomics' by more than {RELATIVE:g} relative and {ABSOLUTE:g} absolute. *NaN apart* counts those "
        "that are NaN in one alone. *Bits apart* compares the compiled path with numpy's. Synthetic tumours go by their "
        "kind and are seeded by their number.",
        "",
        "| tumour | number | voxels | features | NaN in pyradiomics | NaN apart | apart | largest relative difference | "
        "bits apart |",
        "|---|--:|--:|--:|--:|--:|--:|---|--:|",
        *(kind.row(name) for name, kind in kinds.items()),
        total.row("**all**"),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PDL1ES_SHARED_DATA")
    parser.add_argument("--tumours", type=int, default=500)
    parser.add_argument("--data", type=Path, default=Path(data) if data else None, help="folder of the real tumours")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "equality.md")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    text = equality_report(arguments.tumours, arguments.data)
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

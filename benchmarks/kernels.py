"""The compiled kernels under the sanitizers, and on every width of vector registers.

Run from the repository (``make sanitize``)::

    python -m benchmarks.kernels [--rounds 300] [--seed 0]

Builds the kernels anew, in a folder of their own: with AddressSanitizer and UndefinedBehaviorSanitizer, then for SSE2, AVX2
and AVX-512 alone. Each build is fed the same random shapes, masks, grey levels and filters, in a process of its own. A
report of a sanitizer ends it; the results of the other three must be the same to the bit, on every width that this
processor has. Needs gcc.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = REPOSITORY / "pdl1es" / "features" / "kernels"
FLAGS = ("-std=c11", "-ffp-contract=off", "-shared", "-fPIC", "-DPy_LIMITED_API=0x030B0000", "-DPDL1ES_ONE_WIDTH")
SANITIZERS = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WIDTHS = {"SSE2": (), "AVX2": ("-mavx2",), "AVX-512": ("-mavx512f",)}
CPU_FLAGS = {"SSE2": "sse2", "AVX2": "avx2", "AVX-512": "avx512f"}
WAVELETS = ("haar", "coif1", "db4", "sym5")
LARGEST = np.iinfo(np.int16)


def build(folder: Path, name: str, flags: tuple[str, ...]) -> Path:
    """Compile the kernels with flags of their own; return the module's file.

    Parameters
    ----------
    folder
        Where to build.
    name
        Of the build's own folder in it.
    flags
        For gcc.

    Returns
    -------
    Path
        The module's file.
    """
    into = folder / name / "compiled.abi3.so"
    into.parent.mkdir()
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    include = sysconfig.get_path("include")
    subprocess.run(["gcc", *FLAGS, *flags, f"-I{include}", "-o", str(into), *sources, "-lm"], check=True)
    return into


def load(path: Path) -> ModuleType:
    """Load a build of the module."""
    spec = importlib.util.spec_from_file_location("compiled", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Fuzz:
    """Random calls of every function; what they return goes into a digest."""

    def __init__(self, compiled: Any, seed: int) -> None:
        self.compiled = compiled
        self.random = np.random.default_rng(seed)
        self.digest = hashlib.sha256()

    def note(self, *results: Any) -> None:
        """Add results to the digest."""
        for result in results:
            self.digest.update(result.tobytes() if isinstance(result, np.ndarray) else repr(result).encode())

    def mask(self, shape: tuple[int, ...]) -> Any:
        """A mask of any density, from one voxel to all; like a tumour or like dust."""
        mask = self.random.random(shape) < self.random.choice([0.02, 0.3, 0.6, 0.95, 1.0])
        mask.flat[self.random.integers(mask.size)] = True
        return mask

    def as_bytes(self, mask: Any) -> Any:
        """A mask whose true bytes are 1, or what a segmentation of 2, 255 or anything is through ``view(bool)``."""
        highest = int(self.random.choice([1, 2, 255]))
        lowest = int(self.random.choice([1, highest]))
        return (mask.view(np.uint8) * self.random.integers(lowest, highest + 1, mask.shape, np.uint8)).view(np.bool_)

    def filters(self) -> None:
        """The filters on a box in a crop, of any HU that int16 holds."""
        import pywt

        random = self.random
        shape = tuple(int(n) for n in random.integers(4, 24, 3))
        scale = random.choice([1, 40, 3000, LARGEST.max])
        hu = random.integers(-scale - 1, scale + 1, shape).astype(np.int16)
        low = [int(random.integers(0, n)) for n in shape]
        high = [int(random.integers(a + 1, n + 1)) for a, n in zip(low, shape, strict=True)]
        box = tuple(zip(low, high, strict=True))
        mask = self.mask(tuple(b - a for a, b in box))
        voxels = np.count_nonzero(mask)
        mask = self.as_bytes(mask)
        out = np.empty(voxels, np.float32)
        self.compiled.laplacian_of_gaussian(hu, box, mask, float(random.uniform(0.3, 6)), out)
        self.note(out)
        self.compiled.gradient(hu, box, mask, out)
        self.note(out)
        radius, samples = int(random.integers(1, 4)), int(random.integers(1, 9))
        angle = 2 * np.pi * np.arange(samples) / samples
        rows, columns = np.round(-radius * np.sin(angle), 5), np.round(radius * np.cos(angle), 5)
        pattern = np.empty(voxels, np.int16)
        self.compiled.local_binary_pattern(hu, box, mask, rows, columns, radius + 1, pattern)
        self.note(pattern)
        wavelet = pywt.Wavelet(str(random.choice(WAVELETS)))
        if min(n + n % 2 for n in shape[1:]) >= wavelet.dec_len:
            bands = np.empty((4, voxels))
            self.compiled.wavelet(hu, box, mask, np.array(wavelet.dec_lo), np.array(wavelet.dec_hi), bands)
            self.note(bands)

    def texture(self) -> None:
        """Grey levels, moments and matrices on a mask, in two and three dimensions."""
        random = self.random
        shape = tuple(int(n) for n in random.integers(1, 12, 3))
        mask = self.mask(shape)
        voxels = int(np.count_nonzero(mask))
        kind = [np.int16, np.float32, np.float64][random.integers(3)]
        values = (random.normal(0, random.choice([0.1, 30, 400]), voxels)).astype(kind)
        low = np.floor(values.min() / 25) * 25
        edges = np.arange(low, float(values.max()) + 50, 25, dtype=np.float64)
        ranks, counts = np.empty(voxels, np.int32), np.zeros(len(edges) + 1, np.int64)
        found = self.compiled.discretise(values, edges, ranks, counts, np.empty(len(edges) + 1, np.int32))
        self.note(found, ranks, counts)
        self.note(self.compiled.moments(values.astype(np.float64), *np.percentile(values, [10, 90]).tolist()))

        levels = np.flatnonzero(counts)
        padded = np.pad(mask, ((0, 1), (0, 1), (0, 1)))
        plane, row = padded.shape[1] * padded.shape[2], padded.shape[2]
        steps = [1, row - 1, row, row + 1]
        if random.random() < 0.5:
            steps += [plane + y * row + x for y in (-1, 0, 1) for x in (-1, 0, 1)]
        n, directions = len(levels), len(steps)
        glcm, gldm = np.zeros((directions, n, n)), np.zeros((n, 4 * directions + 1))
        reach = int(levels[-1] - levels[0])
        sums, apart = np.zeros((2 * reach + 1, directions)), np.zeros((reach + 1, directions))
        glrlm, ngtdm = np.zeros((n, max(shape), directions)), np.zeros(n)
        zone_ranks, zone_sizes = np.empty((2, voxels), np.int32)
        longest, zones = self.compiled.texture_matrices(
            ranks, np.flatnonzero(padded).astype(np.int32), padded.size, np.array(steps), levels, glcm, sums, apart, gldm,
            glrlm, ngtdm, zone_ranks, zone_sizes,
        )  # fmt: skip
        self.note(longest, zones, glcm, sums, apart, gldm, glrlm, ngtdm, zone_ranks[:zones], zone_sizes[:zones])

    def surface(self) -> None:
        """The mesh of a mask."""
        mask = self.as_bytes(np.pad(self.mask(tuple(int(n) for n in self.random.integers(1, 14, 3))), 1))
        counts, positions = np.empty(256, np.int64), np.empty((3, 256), np.int64)
        self.note(self.compiled.surface(mask, counts, positions), counts, positions)
        self.note(self.compiled.coordinate_sums(mask))

    def misfits(self) -> None:
        """Arrays that do not fit are refused; nothing is read or written beyond them."""
        functions = [name for name in dir(self.compiled) if not name.startswith("_")]
        kinds = (np.int16, np.int32, np.int64, np.float32, np.float64, np.bool_)
        for name in functions:
            arguments: list[Any] = []
            for _ in range(int(self.random.integers(1, 13))):
                axes = self.random.integers(0, 4, int(self.random.integers(0, 4)))
                array = self.random.integers(-3, 4, axes).astype(kinds[self.random.integers(len(kinds))])
                number = int(self.random.integers(-3, 40))
                arguments.append(
                    [array, array, number, float(number), ((0, number), (number, 2), (0, 1))][self.random.integers(5)]
                )
            try:
                getattr(self.compiled, name)(*arguments)
            except (TypeError, ValueError, BufferError, OverflowError) as error:
                self.note(name, type(error).__name__)

    def run(self, rounds: int) -> str:
        """Go on for so many rounds; return the digest."""
        for _ in range(rounds):
            self.filters()
            self.texture()
            self.surface()
            self.misfits()
        return self.digest.hexdigest()


def fuzz_in_a_process(module: Path, arguments: argparse.Namespace, sanitized: bool) -> str:
    """Run the fuzz on a build in a process of its own; return its digest.

    Parameters
    ----------
    module
        The build's file.
    arguments
        Rounds and seed, as the command line gave them.
    sanitized
        Whether the build needs the sanitizers' libraries.

    Returns
    -------
    str
        Of the results.
    """
    environment = dict(os.environ)
    if sanitized:
        libraries = [
            subprocess.run(
                ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in ("libasan.so", "libubsan.so")
        ]
        # Python itself frees little at its end, so leaks are not looked for.
        environment |= {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-m", "benchmarks.kernels", "--module", str(module)]
    command += ["--rounds", str(arguments.rounds), "--seed", str(arguments.seed)]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def main() -> None:
    """Read the command line, build, feed and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--module", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.module:
        with np.errstate(all="ignore"):
            print(Fuzz(load(arguments.module), arguments.seed).run(arguments.rounds))
        return
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fuzz_in_a_process(build(folder, "sanitized", SANITIZERS), arguments, sanitized=True)
        print(f"AddressSanitizer and UndefinedBehaviorSanitizer: {arguments.rounds} rounds, nothing found")
        digests = {}
        for width, options in WIDTHS.items():
            if CPU_FLAGS[width] in flags:
                digests[width] = fuzz_in_a_process(build(folder, width, ("-O3", *options)), arguments, sanitized=False)
        print(f"{', '.join(digests)}: {'the same bits' if len(set(digests.values())) == 1 else digests}")
        if len(set(digests.values())) != 1:
            sys.exit(1)


if __name__ == "__main__":
    main()

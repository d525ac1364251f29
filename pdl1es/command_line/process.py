"""Sets up the command line's own process: threads, memory, log, warnings."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import sys
import warnings


def limit_blas_threads() -> None:
    """Let numpy's matrix library use one thread; call it before numpy is imported.

    The matrices here are small: a second thread slows them down, and one thread gives the same last bits on every
    machine. ``OPENBLAS_NUM_THREADS`` wins where it is set.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def collect_garbage_rarely() -> None:
    """Look for unreachable cycles rarely, and not at all when the process ends.

    A command that scores one study makes some hundred thousand objects that live until it ends (headers, modules).
    Python's collector would walk through them again and again, 0.3 s of a study's time, and once more at the end, 0.5 s.
    """
    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)


def leave_out_what_is_not_used() -> None:
    """Keep pydicom from loading libraries that no command here uses; call it before pydicom is imported.

    It looks for requests, with which it downloads its test files, and for every decoder there is. Nothing here goes to
    the network, and pixels are decoded in a process of its own (`dicom.pixels.decoder_process`).
    """
    for name in ("requests", "gdcm", "jpeg_ls", "libjpeg", "openjpeg"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own way to say that there is none


def print_in_any_locale() -> None:
    """Print characters that the terminal's encoding lacks as escapes (a Chinese label on Latin-1), instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def prepare_process(level: str) -> None:
    """Log to standard error, and keep pydicom from quoting headers: its warnings repeat values."""
    from pydicom import config as pydicom_config

    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    for library, least in (("pydicom", logging.CRITICAL), ("highdicom", logging.WARNING), ("radiomics", logging.ERROR)):
        logging.getLogger(library).setLevel(least)
    warnings.filterwarnings("ignore", module=r"pydicom\..*")
    warnings.filterwarnings("ignore", module=r"highdicom\..*")
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    pydicom_config.settings.writing_validation_mode = pydicom_config.IGNORE

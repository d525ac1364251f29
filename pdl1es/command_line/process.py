"""What the command line decides for its own process, before it does anything: threads, memory, log, warnings."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import warnings


def limit_blas_threads() -> None:
    """Let numpy's matrix library use one thread; call it before numpy is imported.

    The matrices here are small: a second thread costs more than it gives, and one thread gives the same last bits on
    every machine. ``OPENBLAS_NUM_THREADS`` wins where it is set.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def collect_garbage_rarely() -> None:
    """Look for unreachable cycles rarely, and not at all when the process ends.

    A command that scores one study makes some hundred thousand objects that live until it ends (headers, modules).
    Python's collector would walk through them again and again, 0.3 s of a study's time, and once more at the end, 0.5 s.
    """
    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)


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

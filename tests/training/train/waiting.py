"""A task of a process of its own that needs neither torch nor any other large library."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from training.train.progress import Observer


@dataclass(frozen=True)
class Waiting:
    """Leaves its process number in a file, and waits; or fails."""

    file: Path
    fails: bool = False

    def __call__(self, observer: Observer) -> None:
        if self.fails:
            while not self.file.is_file():
                time.sleep(0.01)
            raise RuntimeError("this network cannot be trained")
        self.file.with_suffix(".aside").write_text(str(os.getpid()))
        self.file.with_suffix(".aside").rename(self.file)
        time.sleep(300)

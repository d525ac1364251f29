"""What a person sees while a network trains: a bar on a terminal, and a line for every epoch anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One finished epoch.

    Attributes
    ----------
    stage, epoch
        Counted from 1; the epoch within its stage.
    learning_rate
        Of the stage.
    loss
        Mean cross-entropy over the training slices.
    validation_auc
        Over patients.
    seconds
        Of the training, without validation and checkpoint.
    patches
        That were trained on, on all devices.
    waiting
        Share of the seconds in which this device's process waited for its next batch.
    """

    stage: int
    epoch: int
    learning_rate: float
    loss: float
    validation_auc: float
    seconds: float
    patches: int
    waiting: float

    @property
    def patches_per_second(self) -> float:
        """Throughput."""
        return self.patches / self.seconds if self.seconds > 0 else 0.0


class Observer(Protocol):
    """Whoever wants to be told."""

    def begin(self, network: str, epochs: int, done: int) -> None:
        """A network starts or goes on: ``done`` of ``epochs`` lie behind it."""

    def batch(self, share: float) -> None:
        """A batch is done; ``share`` of the epoch lies behind."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""

    def scored(self, network: str, done: int, cases: int) -> None:
        """A trained network has scored some of the cohort's cases."""

    def say(self, message: str) -> None:
        """Anything else."""


class Silent:
    """Nobody is told."""

    def begin(self, network: str, epochs: int, done: int) -> None:
        """Nothing."""

    def batch(self, share: float) -> None:
        """Nothing."""

    def epoch(self, record: EpochRecord) -> None:
        """Nothing."""

    def scored(self, network: str, done: int, cases: int) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""


class ConsoleObserver:
    """A bar on a terminal and a line an epoch; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.1f} of {task.total:.0f} {task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._name = ""
        self._done = 0

    def __enter__(self) -> ConsoleObserver:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, network: str, epochs: int, done: int) -> None:
        """Start a bar."""
        self._name, self._done = network, done
        self._start(network, epochs, done, "epochs")

    def batch(self, share: float) -> None:
        """Move the bar within an epoch."""
        if self._task is not None:
            self._progress.update(self._task, completed=self._done + share)

    def epoch(self, record: EpochRecord) -> None:
        """Print the epoch's line."""
        self._done += 1
        self.batch(0.0)
        self.say(
            f"{self._name}: stage {record.stage} (rate {record.learning_rate:g}), epoch {record.epoch}: "
            f"loss {record.loss:.4f}, validation AUC {record.validation_auc:.3f}; "
            f"{record.seconds:.1f} s, {record.patches_per_second:.0f} patches/s, "
            f"{100 * record.waiting:.1f} % of it waiting for data"
        )

    def scored(self, network: str, done: int, cases: int) -> None:
        """Move a bar of its own."""
        if done == 1:
            self._start(f"{network}: scores", cases, 0, "cases")
        if self._task is not None:
            self._progress.update(self._task, completed=done)

    def _start(self, name: str, total: int, done: int, unit: str) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=total, completed=done, unit=unit)

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

"""Shows progress while a network trains: a bar on a terminal, and a line for every epoch."""

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
    """Receives progress. Several networks may be trained at once, so each call names its network."""

    def begin(self, network: str, epochs: int, done: int) -> None:
        """A network starts or goes on.

        Parameters
        ----------
        network
            Its name.
        epochs
            How many it is trained for at most.
        done
            How many of them lie behind it.
        """

    def batch(self, network: str, share: float) -> None:
        """A batch is done.

        Parameters
        ----------
        network
            Its name.
        share
            Of the epoch, 0 to 1, that lies behind.
        """

    def epoch(self, network: str, record: EpochRecord) -> None:
        """An epoch is done.

        Parameters
        ----------
        network
            Its name.
        record
            What the epoch came to.
        """

    def scored(self, network: str, done: int, cases: int) -> None:
        """A trained network has scored some of the cohort's cases.

        Parameters
        ----------
        network
            Its name.
        done
            Cases that are scored.
        cases
            All of them.
        """

    def say(self, message: str) -> None:
        """Anything else."""


class Silent(Observer):
    """Ignores all progress."""

    def begin(self, network: str, epochs: int, done: int) -> None:
        """Nothing."""

    def batch(self, network: str, share: float) -> None:
        """Nothing."""

    def epoch(self, network: str, record: EpochRecord) -> None:
        """Nothing."""

    def scored(self, network: str, done: int, cases: int) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""


class ConsoleObserver(Observer):
    """A bar for each network on a terminal and a line per epoch; use it as a context manager."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
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
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> ConsoleObserver:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, network: str, epochs: int, done: int) -> None:
        """Start a bar."""
        self._done[network] = done
        self._start(network, network, epochs, done, "epochs")

    def batch(self, network: str, share: float) -> None:
        """Move the bar within an epoch."""
        if network in self._tasks:
            self._progress.update(self._tasks[network], completed=self._done[network] + share)

    def epoch(self, network: str, record: EpochRecord) -> None:
        """Print the epoch's line."""
        self._done[network] = self._done.get(network, 0) + 1
        self.batch(network, 0.0)
        self.say(
            f"{network}: stage {record.stage} (rate {record.learning_rate:g}), epoch {record.epoch}: "
            f"loss {record.loss:.4f}, validation AUC {record.validation_auc:.3f}; "
            f"{record.seconds:.1f} s, {record.patches_per_second:.0f} patches/s, "
            f"{100 * record.waiting:.1f} % of it waiting for data"
        )

    def scored(self, network: str, done: int, cases: int) -> None:
        """Let the network's bar count cases."""
        if done == 1:
            self._start(network, f"{network}: scores", cases, 0, "cases")
        if network in self._tasks:
            self._progress.update(self._tasks[network], completed=done)
            if done == cases:
                self._progress.remove_task(self._tasks.pop(network))

    def _start(self, network: str, description: str, total: int, done: int, unit: str) -> None:
        if network in self._tasks:
            self._progress.remove_task(self._tasks[network])
        self._tasks[network] = self._progress.add_task(description, total=total, completed=done, unit=unit)

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

"""Networks trained at the same time: the same weights, one observer, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.train.waiting import Waiting
from training.cohort.prepared import PreparedCohort
from training.train.config import ConfigurationError, Hardware, TrainingConfig, read_hardware
from training.train.progress import EpochRecord, Silent
from training.train.run import train
from training.train.run_folder import NETWORKS, WEIGHTS_FILE
from training.train.side_by_side import SideBySideError, run_side_by_side

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true", workers=0, threads=1)


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}
        self.said: list[str] = []

    def epoch(self, network: str, record: EpochRecord) -> None:
        self.epochs[network] = record.epoch

    def say(self, message: str) -> None:
        self.said.append(message)


def test_side_by_side_gives_the_weights_of_one_after_another_and_tells_the_same(
    cohort: PreparedCohort, quick: TrainingConfig, tmp_path: Path
) -> None:
    config = quick.model_copy(update={"models": ("CM", "DLM"), "stages": quick.stages[1:]})
    weights, told = [], []
    for hardware in (CPU, CPU.model_copy(update={"side_by_side": 2})):
        folder, heard = tmp_path / str(hardware.side_by_side), Heard()
        train(cohort, folder, config, hardware=hardware, observer=heard)
        files = {path.parent.name: path for path in (folder / NETWORKS).rglob(WEIGHTS_FILE)}
        weights.append({name: torch.load(path, weights_only=True) for name, path in files.items()})
        told.append((heard.epochs, len(heard.said)))
        assert sum("was not checked" in said for said in heard.said) == 1  # these cases have no digests of their CT
    assert set(weights[0]) == set(weights[1]) == {"CM", "DLM"}
    for name, one in weights[0].items():
        assert all(torch.equal(value, weights[1][name][key]) for key, value in one.items()), name
    assert told[0] == told[1] == ({"CM": 1, "DLM": 1}, 3)


def ended(process: int) -> bool:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_where_one_fails_the_others_end_and_it_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tasks = {"CM": Waiting(tmp_path / "process"), "RM": Waiting(tmp_path / "process", fails=True)}
    with pytest.raises(SideBySideError, match="trained RM ended with exit code 1"):
        run_side_by_side(tasks, 2, Silent())
    assert ended(int((tmp_path / "process").read_text()))
    assert "this network cannot be trained" in capfd.readouterr().err


def test_a_killed_first_process_leaves_nobody_behind_who_writes_on(repository: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.training.train.waiting import Waiting\n"
        "from training.train.progress import Silent\n"
        "from training.train.side_by_side import run_side_by_side\n"
        "if __name__ == '__main__': run_side_by_side({'CM': Waiting(Path(sys.argv[1]))}, 2, Silent())\n"
    )
    (tmp_path / "program.py").write_text(program)
    place = tmp_path / "process"
    first = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(place)],
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    while first.poll() is None and not place.is_file():
        time.sleep(0.01)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    assert ended(int(place.read_text()))


def test_each_of_them_has_one_device_and_its_share_of_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    each = read_hardware(side_by_side=2).of_each()
    assert (each.devices, each.side_by_side, each.threads) == ("1", 1, max(cores // 2, 1))
    assert read_hardware(side_by_side=2, threads=3).of_each().threads == 3
    assert read_hardware(threads=None).of_each() == Hardware()
    for several in ({"devices": "2"}, {"devices": "0,1"}, {"nodes": 2}, {"strategy": "ddp"}):
        with pytest.raises(ConfigurationError, match="one device each"):
            read_hardware(side_by_side=2, **several)

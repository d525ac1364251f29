"""What a user may say of a training, and what they are told where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.train.config import ConfigurationError, TrainingConfig, read_configuration, read_hardware


def test_a_file_changes_only_what_it_names_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    file.write_text(json.dumps({"seed": 3, "batch_size": 16, "stages": [{"learning_rate": 1e-3, "epochs": 7}]}))
    read = read_configuration(file, {"seed": 4})
    assert (read.seed, read.batch_size) == (4, 16)
    assert read.differences(TrainingConfig()).keys() == {"seed", "batch_size", "stages"}
    assert read_configuration(file, epochs=2).epochs == 2
    assert [stage.epochs for stage in read_configuration(None, epochs=2).stages] == [2, 2, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"patience": 0}', "patience"),
        ('{"patiens": 3}', "patiens"),
        ('{"stages": [{"learning_rate": -1, "epochs": 3}]}', "stages.0.learning_rate"),
        ("[1]", "no JSON object"),
        ("{", "is not JSON"),
    ],
)
def test_a_wrong_file_is_refused_by_field(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "training.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_configuration(file)


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="precision"):
        read_hardware(precision="fp8")

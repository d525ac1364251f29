"""Nothing that runs here reports to anyone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

QUIET_BY_ITSELF = ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "TF_BUILD")
"""Variables that switch onnxruntime's telemetry off without us."""


def test_loading_a_model_does_not_start_onnxruntimes_telemetry(repository: Path, tmp_path: Path) -> None:
    """onnxruntime's telemetry leaves a device id and a queue of events in the home folder; a run leaves nothing."""
    environment = {name: value for name, value in os.environ.items() if name not in QUIET_BY_ITSELF}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(repository)}
    environment.pop("XDG_CACHE_HOME", None)
    program = (
        "from pathlib import Path; from pdl1es.model.fusion import FusionModel; "
        f"print(FusionModel.load(Path({str(repository / 'models' / 'pdl1es')!r}), require_gpu=False, threads=1).provider)"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "ExecutionProvider" in done.stdout
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []

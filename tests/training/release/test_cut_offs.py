"""What the export is given: a file of cut-offs, read or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.release.cut_offs import CutOffsError, read_cut_offs


@pytest.mark.parametrize(("text", "reason"), [("{", "Invalid JSON"), ('{"expression": 3}', "expression: ")])
def test_a_file_that_holds_no_cut_offs_is_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "cut_offs.json").write_text(text)
    with pytest.raises(CutOffsError, match=f"cut_offs.json holds no cut-offs of a model: .*{reason}"):
        read_cut_offs(tmp_path / "cut_offs.json")

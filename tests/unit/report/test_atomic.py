"""A result is on the disk whole, or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pdl1es.atomic import require_writable, write_atomically
from pdl1es.errors import Refusal, RefusalCode


def test_a_file_and_its_folder_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "result.json"
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"a much longer older content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_the_file_can_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr({"fsync": os, "replace": Path}[call], call, full)
    with pytest.raises(Refusal, match="No space left") as refused:
        write_atomically(path, b"new")
    assert refused.value.code is RefusalCode.OUTPUT_NOT_WRITABLE
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "result.json", b"new")
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_a_folder_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Refusal) as required:
        require_writable(tmp_path / "file" / "below")
    with pytest.raises(Refusal) as written:
        write_atomically(tmp_path / "file" / "result.json", b"")
    assert {required.value.code, written.value.code} == {RefusalCode.OUTPUT_NOT_WRITABLE}


def test_a_folders_name_stays_out_of_the_message(tmp_path: Path) -> None:
    """Sites name folders after patients."""
    (tmp_path / "Doe_Jane").write_bytes(b"")
    with pytest.raises(Refusal) as refused:
        write_atomically(tmp_path / "Doe_Jane" / "result.json", b"")
    assert "Doe" not in str(refused.value)


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    require_writable(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []

"""A folder as a destination: a result appears whole, once, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import StoredResult
from gateway.send.destination import Confirmation
from gateway.send.drop_folder import DropFolder
from gateway.send.settings import FolderDestination
from tests.gateway.send.dicom_results import stored_result


@pytest.fixture
def result(tmp_path: Path) -> StoredResult:
    """A report, its picture and the document for programs."""
    return stored_result(tmp_path / "result", "cam", "sr", "json")


def into(path: Path, mode: str = "0640") -> DropFolder:
    """A folder as a destination."""
    return DropFolder(FolderDestination(name="files", kind="folder", path=path, file_mode=mode))


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_result_becomes_one_folder_with_its_files(result: StoredResult, tmp_path: Path) -> None:
    receipt = into(tmp_path / "out").deliver(result, 1)
    (place,) = (tmp_path / "out").iterdir()
    assert place.name == result.digest[:32]
    assert content(place) == content(result.folder)
    assert len(receipt.objects) == 2
    assert into(tmp_path / "out").confirm(receipt) == Confirmation(True, "file")


def test_delivered_twice_it_is_there_once(result: StoredResult, tmp_path: Path) -> None:
    for attempt in (1, 2):
        into(tmp_path / "out").deliver(result, attempt)
    (place,) = (tmp_path / "out").iterdir()
    assert content(place) == content(result.folder)


@pytest.mark.parametrize("damage", ["part", "more", "other"])
def test_what_a_broken_attempt_left_is_replaced(damage: str, result: StoredResult, tmp_path: Path) -> None:
    out = tmp_path / "out"
    into(out).deliver(result, 1)
    (place,) = out.iterdir()
    if damage == "part":
        (place / "result.json").unlink()
    elif damage == "more":
        (place / "stray").write_bytes(b"x")
    else:
        (place / "result.json").write_bytes(b"x")
    (out / f".{place.name}.killed").mkdir()
    into(out).deliver(result, 2)
    assert content(place) == content(result.folder)
    assert list(out.iterdir()) == [place], "what was replaced is gone"
    into(out).deliver(result, 3)


def test_what_a_killed_attempt_replaced_goes_when_another_result_is_put_there(
    result: StoredResult, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    left = out / f".{'0' * 32}.replaced-1"
    left.mkdir(parents=True)
    (left / "result.json").write_bytes(b"x")
    into(out).deliver(result, 1)
    assert [path.name for path in out.iterdir()] == [result.digest[:32]]


def test_a_folder_whose_set_was_taken_out_gets_it_again_only_when_it_is_sent_again(
    result: StoredResult, tmp_path: Path
) -> None:
    receipt = into(tmp_path / "out").deliver(result, 1)
    (place,) = (tmp_path / "out").iterdir()
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    assert into(tmp_path / "out").confirm(receipt).has_them
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "file", "folder"), [("0640", 0o640, 0o750), ("0600", 0o600, 0o700), ("0644", 0o644, 0o755)]
)
def test_who_may_read_a_file_may_enter_its_folder(
    mode: str, file: int, folder: int, result: StoredResult, tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        into(tmp_path / "out", mode).deliver(result, 1)
    finally:
        os.umask(before)
    (place,) = (tmp_path / "out").iterdir()
    assert stat.S_IMODE(place.stat().st_mode) == folder
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {file}


def test_a_folder_that_cannot_be_written_to_is_told(result: StoredResult, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file is in its place")
    with pytest.raises(PeerError) as caught:
        into(tmp_path / "out").deliver(result, 1)
    assert caught.value.failure is PeerFailure.NOT_WRITABLE


def test_a_file_that_changed_since_it_was_stored_is_not_put_there(result: StoredResult, tmp_path: Path) -> None:
    (result.folder / "result.json").write_bytes(b"changed")
    with pytest.raises(PeerError) as caught:
        into(tmp_path / "out").deliver(result, 1)
    assert caught.value.failure is PeerFailure.RESULT_CHANGED
    assert not (tmp_path / "out").exists()

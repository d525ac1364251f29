"""The result store: what was stored is what is sent, whatever happens in between."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.records import StudyKey
from gateway.workflow.results import ResultDamagedError, ResultStore
from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.gateway.workflow.stand_ins import NOW, STUDY, new_database

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


@pytest.fixture(scope="module")
def scored(phantom_study: PhantomStudy, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored") / "out"
    settings = load_settings(DEFAULT_FILE)
    run_study(phantom_study.folder, folder, settings=settings, model_folder=repository / "models", when=NOW)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(new_database(tmp_path), tmp_path / "results")


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_a_result_keeps_its_bytes_and_says_what_it_is(store: ResultStore, scored: Path, tmp_path: Path) -> None:
    stored = store.keep(STUDY, "d1", copied(scored, tmp_path / "built"), training_data="synthetic")
    (report,) = scored.glob("*.dcm")
    assert {file.kind: file.sop_instance_uid for file in stored.files} == {"sr": report.stem, "json": ""}
    assert (stored.folder / report.name).read_bytes() == report.read_bytes()
    assert stored.score is not None
    assert 0 < stored.score < 1
    assert stored.refusal == ""
    assert store.find("d1") == stored
    assert store.is_ours(report.stem)
    assert not store.is_ours("")
    store.verify(stored)


def test_the_first_result_of_a_digest_stays(store: ResultStore, scored: Path, tmp_path: Path) -> None:
    first = store.keep(STUDY, "d1", copied(scored, tmp_path / "one"), training_data="synthetic")
    other = copied(scored, tmp_path / "two")
    (other / "result.json").write_text("{}")
    assert store.keep(STUDY, "d1", other, training_data="synthetic") == first
    assert not other.exists()
    store.verify(first)


def test_a_result_that_a_crash_left_without_an_entry_is_the_one_that_counts(
    store: ResultStore, scored: Path, tmp_path: Path
) -> None:
    copied(scored, store.folder / "d1")
    later = copied(scored, tmp_path / "later")
    stored = store.keep(STUDY, "d1", later, training_data="synthetic")
    assert stored.folder == store.folder / "d1"
    store.verify(stored)


def test_a_later_result_supersedes_the_study_s_earlier_ones_alone(
    store: ResultStore, scored: Path, tmp_path: Path
) -> None:
    for digest, study in (("d1", STUDY), ("d2", StudyKey("9.9")), ("d3", STUDY)):
        store.keep(study, digest, copied(scored, tmp_path / digest), training_data="synthetic")
    assert [(note.result.digest, note.superseded_by) for note in store.of_study(STUDY)] == [("d1", "d3"), ("d3", "")]
    assert [note.superseded_by for note in store.of_study(StudyKey("9.9"))] == [""]


@pytest.mark.parametrize("damage", ["missing report", "failed run", "no result"])
def test_what_is_no_whole_result_is_not_stored(store: ResultStore, scored: Path, tmp_path: Path, damage: str) -> None:
    built = copied(scored, tmp_path / "built")
    if damage == "missing report":
        next(built.glob("*.dcm")).unlink()
    elif damage == "no result":
        (built / "result.json").unlink()
    else:
        (built / "result.json").write_text(
            '{"status":"failed","created":"2026","assessment":null,"warnings":[],"refusal":null,'
            '"defect":{"kind":"KeyError"},"reports":[],"versions":{},"seconds":{}}'
        )
    with pytest.raises(ResultDamagedError):
        store.keep(STUDY, "d1", built, training_data="synthetic")
    assert store.find("d1") is None
    assert list(store.folder.iterdir()) == []


def test_a_byte_that_changed_on_the_disk_is_found_before_it_is_sent(
    store: ResultStore, scored: Path, tmp_path: Path
) -> None:
    stored = store.keep(STUDY, "d1", copied(scored, tmp_path / "built"), training_data="synthetic")
    (report,) = stored.folder.glob("*.dcm")
    content = bytearray(report.read_bytes())
    content[-1] ^= 1
    report.chmod(0o640)
    report.write_bytes(bytes(content))
    with pytest.raises(ResultDamagedError, match="other bytes"):
        store.verify(stored)


def test_a_purged_result_has_no_files_and_stays_known(store: ResultStore, scored: Path, tmp_path: Path) -> None:
    stored = store.keep(STUDY, "d1", copied(scored, tmp_path / "built"), training_data="synthetic")
    store.purge(store.of_study(STUDY))
    note = store.note("d1")
    assert note is not None
    assert note.purged
    assert not stored.folder.exists()

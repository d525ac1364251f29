"""What radiology IT is promised of app.yaml."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from pdl1es.settings import DEFAULT_FILE, Settings, load_settings, settings_file
from pdl1es.settings_file import SettingsError

SHIPPED = DEFAULT_FILE.read_text(encoding="utf-8")


def write(folder: Path, text: str) -> Path:
    file = folder / "app.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_file_that_ships_spells_out_the_defaults() -> None:
    assert load_settings(DEFAULT_FILE) == Settings()


def test_keys_that_are_left_out_have_their_defaults(tmp_path: Path) -> None:
    short = SHIPPED.split("# Which series")[0]
    assert load_settings(write(tmp_path, short)) == load_settings(DEFAULT_FILE)


@pytest.mark.parametrize("text", ["", "{}", "# nothing is said here\n", "log:\n  level: INFO\n"])
def test_every_section_may_be_left_out(tmp_path: Path, text: str) -> None:
    assert load_settings(write(tmp_path, text)) == load_settings(DEFAULT_FILE)


def keys(section: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a document, sections and all that is in them."""
    for key, value in section.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from keys(value, (*above, key))


def without(key: tuple[str, ...], *, empty: bool) -> str:
    """The file that ships with one key taken out, or left without a value."""
    document = yaml.safe_load(SHIPPED)
    section = document
    for name in key[:-1]:
        section = section[name]
    if empty:
        section[key[-1]] = None
    else:
        del section[key[-1]]
    return yaml.safe_dump(document, allow_unicode=True)


EVERY_KEY = list(keys(yaml.safe_load(SHIPPED)))


@pytest.mark.parametrize("empty", [False, True], ids=["left out", "without a value"])
@pytest.mark.parametrize("key", EVERY_KEY, ids=".".join)
def test_each_key_may_be_left_out_alone(tmp_path: Path, key: tuple[str, ...], empty: bool) -> None:
    assert load_settings(write(tmp_path, without(key, empty=empty))) == Settings()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('smooth_kernel: "withhold_group"', "smooth_kernel: maybe", "protocol.smooth_kernel = 'maybe'"),
        ("require_gpu: false", "require_gpus: false", "model.require_gpus"),
        ("max_files: 50000", "max_files: -1", "limits.max_files = -1"),
        ('choose: "refuse"', "choose: first", "selection.segment.choose = 'first'"),
        ("application:", "applications:", "application"),
        ("  gaps:", "  gap:", "plausibility.gap = 'refuse': there is no such key; did you mean 'gaps'?"),
        ("protocol:", "protocoll:", "there is no such key; did you mean 'protocol'?"),
        ("require_gpu: false", "zzzz: 1", "model.zzzz = 1: there is no such key"),
        ('label_languages: ["en"]', "label_languages: en", "label_languages = 'en': Input should be a list"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert before in SHIPPED
    with pytest.raises(SettingsError, match="holds settings that are not allowed") as caught:
        load_settings(write(tmp_path, SHIPPED.replace(before, after)))
    assert says in str(caught.value)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    wrong = SHIPPED.replace("require_gpu: false", "require_gpu: perhaps").replace("max_files: 50000", "max_files: many")
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, wrong))
    assert "model.require_gpu" in str(caught.value)
    assert "limits.max_files" in str(caught.value)


def test_a_tab_is_told_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("model:\n\tthreads: 2\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert str(caught.value) == f"{file} is not YAML: line 2, column 1: YAML takes no tabs: indent with spaces"


@pytest.mark.parametrize(("text", "says"), [("a: [", "is not YAML"), ("- 1", "must hold a mapping"), ("\x00", "YAML")])
def test_what_is_not_yaml_is_told(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings(write(tmp_path, text))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("report:\n  series_number: 2020-99-99\n", "a value that cannot be read: month must be in 1..12"),
        ("limits: {max_files: !!int 'x'}", "a value that cannot be read"),
        ("report_refusals: !!bool 'x'", "a value that cannot be read"),
        ("limits: {max_files: " + "9" * 5000 + "}", "a value that cannot be read"),
        (BOMB, "an alias"),
        ("limits: &a {x: *a}", "an alias"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("#" * 2**21, "larger than"),
        ("log: {level: " + "x" * 100_000 + "}", "log.level"),
    ],
    ids=["date", "int", "bool", "digits", "bomb", "itself", "depth", "size", "long"],
)
def test_yaml_that_is_made_to_break_its_reader_is_told_in_a_few_words(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        load_settings(write(tmp_path, text))
    assert len(str(caught.value)) < 1000 + len(str(tmp_path))


@pytest.mark.parametrize("given", ["pipe", "/dev/zero", "gone"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, given: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match=given):
        load_settings(tmp_path / given)


def test_the_file_comes_from_the_option_then_the_environment_then_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLOSCAN_CONFIG_PATH", str(tmp_path / "environment.yaml"))
    assert settings_file(tmp_path / "option.yaml").name == "option.yaml"
    assert settings_file(None).name == "environment.yaml"
    monkeypatch.delenv("HOLOSCAN_CONFIG_PATH")
    assert settings_file(None) == DEFAULT_FILE


@pytest.mark.parametrize(
    ("written", "means"),
    [("on", "on"), ("true", "on"), ('"on"', "on"), ("borderline", "borderline"), ("off", "off"), ("false", "off")],
)
def test_contour_stability_is_on_borderline_or_off_and_earlier_truth_values_are_read(
    tmp_path: Path, written: str, means: str
) -> None:
    assert load_settings(write(tmp_path, f"contour_stability: {written}\n")).contour_stability == means


@pytest.mark.parametrize("written", ["always", "1", "[on]"])
def test_no_other_word_is_taken_for_contour_stability(tmp_path: Path, written: str) -> None:
    with pytest.raises(SettingsError, match="'on', 'borderline' or 'off'"):
        load_settings(write(tmp_path, f"contour_stability: {written}\n"))

"""A settings file: YAML from outside, read with limits, and every fault of it told in the file's own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pdl1es.regular_file import read_regular_file

MAX_SETTINGS_BYTES: Final = 2**20


class SettingsError(ValueError):
    """A settings file cannot be used; the message names file, key, value and what is allowed."""


class _SettingsLoader(yaml.SafeLoader):
    """YAML without aliases: nested ones make a short file as large as memory, and settings need none."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias; compose any other node."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "an alias (*) cannot be used here", event.start_mark)
        return super().compose_node(parent, index)


def read_settings_mapping(file: Path) -> dict[Any, Any]:
    """Read a settings file.

    Returns
    -------
    dict
        Its sections, not validated; empty where the file is.

    Raises
    ------
    SettingsError
        Where it is missing, too large or not YAML.
    """
    try:
        content = read_regular_file(file, MAX_SETTINGS_BYTES)
        text = content.decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: {error}") from error
    if len(content) > MAX_SETTINGS_BYTES:
        raise SettingsError(f"{file} is larger than {MAX_SETTINGS_BYTES} bytes")
    try:
        document = yaml.load(text, _SettingsLoader)
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML: {_of_yaml(error)}") from error
    except RecursionError:
        raise SettingsError(f"{file} is nested too deeply") from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # What PyYAML's constructors raise for a scalar that its pattern accepts: a date of month 99, !!int 'x'.
        raise SettingsError(f"{file} holds a value that cannot be read: {_brief(str(error))}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{file} must hold a mapping with sections")
    return document


def _of_yaml(error: yaml.YAMLError) -> str:
    """Say what PyYAML found, and in which line: it calls a text that it was given ``<unicode string>``."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    mark = error.problem_mark
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    if "'\\t'" in problem:
        problem = "YAML takes no tabs: indent with spaces"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def without_empty_keys(given: Any, model: type[BaseModel]) -> Any:
    """Return settings without the keys that stand there with no value, as ``report:`` with nothing below it.

    Parameters
    ----------
    given
        What was read for a section.
    model
        The section's model. Where a field may be None, None is a value.

    Returns
    -------
    Any
        ``given`` itself where it is no mapping; the model then says what is wrong.
    """
    if not isinstance(given, Mapping):
        return given
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    kept = {}
    for key, value in given.items():
        field = fields.get(key)
        if field is not None and value is None and field.get_default(call_default_factory=True) is not None:
            continue
        section = field.annotation if field is not None else None
        if isinstance(section, type) and issubclass(section, BaseModel):
            value = without_empty_keys(value, section)
        kept[key] = value
    return kept


def settings_error(
    error: ValidationError, model: type[BaseModel], where: str, further: Iterable[str] = ()
) -> SettingsError:
    """Return every fault of a settings file in one error.

    Parameters
    ----------
    error
        Of pydantic.
    model
        The whole file's model.
    where
        The file.
    further
        Faults that were found beside pydantic's, in words.

    Returns
    -------
    SettingsError
    """
    faults = [
        f"  {_place(fault, model)}: {_in_words(fault, model)}"
        for fault in error.errors(include_url=False)
        if not _is_echo(fault)
    ]
    return faults_of_file([*faults, *(f"  {one}" for one in further)], where)


def faults_of_file(faults: Iterable[str], where: str) -> SettingsError:
    """Return faults of a settings file in one error.

    Parameters
    ----------
    faults
        A line for each.
    where
        The file.

    Returns
    -------
    SettingsError
    """
    return SettingsError("\n".join([f"{where} holds settings that are not allowed:", *faults]))


def _place(fault: ErrorDetails, model: type[BaseModel]) -> str:
    """Name the key, and its value where there is one: of a whole section it would be all of it."""
    key = _brief(".".join(_written_parts(fault, model)))
    whole = fault["type"] in ("missing", "union_tag_not_found") or isinstance(fault["input"], Mapping | list)
    return key if whole and fault["type"] != "extra_forbidden" else f"{key} = {_brief(repr(fault['input']))}"


def _written_parts(fault: ErrorDetails, model: type[BaseModel]) -> list[str]:
    """Return the parts of a place that stand in the file: pydantic names the kind of a union too, as ``dimse`` or ``constrained-float``."""
    parts, models, is_free = [], [model], False
    *sections, last = fault["loc"] or ("",)
    for part in (*sections, last):
        fields = [field for one in models for name, field in one.model_fields.items() if (field.alias or name) == part]
        is_unknown_key = fault["type"] == "extra_forbidden" and part is last
        if fields or isinstance(part, int) or is_free or is_unknown_key:
            parts.append(str(part))
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
            is_free = any(_is_mapping(field.annotation) for field in fields)
    return parts


def _is_mapping(annotation: Any) -> bool:
    """Tell whether a value may be a mapping with keys of its own."""
    return get_origin(annotation) in (dict, Mapping) or any(_is_mapping(part) for part in get_args(annotation))


def _is_echo(fault: ErrorDetails) -> bool:
    """Tell whether a list counts as too short only because its entries have faults, which are told themselves."""
    return (
        fault["type"] == "too_short"
        and isinstance(fault["input"], Sequence)
        and len(fault["input"]) >= fault["ctx"]["min_length"]
    )


def _brief(text: str) -> str:
    """Shorten what a message repeats."""
    return text if len(text) <= 200 else f"{text[:200]}..."


def _in_words(fault: ErrorDetails, model: type[BaseModel]) -> str:
    """Say what is wrong in the words of a settings file; pydantic speaks of Python's types."""
    if fault["type"] == "extra_forbidden":
        *sections, key = fault["loc"]
        keys = _keys_of(sections, model)
        begun = [one for one in keys if len(str(key)) > 1 and one.startswith(str(key)[:2])]  # `aet` for `ae_title`
        near = get_close_matches(str(key), keys, n=1) or begun
        return f"there is no such key; did you mean {near[0]!r}?" if near else "there is no such key"
    match fault["type"]:
        case "tuple_type":
            return "Input should be a list"
        case "too_short":
            return f"at least {fault['ctx']['min_length']} must be given"
        case "missing":
            return "must be given"
        case "union_tag_not_found":
            return f"{fault['ctx']['discriminator']} must be given"
        case "union_tag_invalid":
            return f"{fault['ctx']['discriminator']} should be one of {fault['ctx']['expected_tags']}"
        case "value_error":
            return str(fault["ctx"]["error"])
    return str(fault["msg"])


def _keys_of(sections: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """Return the keys that a section may have; a number is a place in a list, and a word that is no key a kind of section."""
    models = [model]
    for section in sections:
        fields = [one.model_fields[str(section)] for one in models if str(section) in one.model_fields]
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return [field.alias or name for one in models for name, field in one.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Give the models that a value may follow: the annotation itself, or what stands in a list or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for part in get_args(annotation):
        yield from _models_in(part)

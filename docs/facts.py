"""Writes the parts of the documents that the code decides: ``python -m docs.facts``, and a test compares.

A page marks such a part by two comments::

    <!-- generated: settings -->
    ...
    <!-- end -->
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs import chain_diagram
from gateway.health.metrics import metrics_table
from gateway.peers.failures import peer_failure_table
from training.checklists.instruments import KEYS as CHECKLISTS

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ("README.md", "docs/*.md")
PART: Final = re.compile(r"(?P<start><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def settings_table() -> str:
    """Return every key of ``app.yaml`` with its default, what is allowed and what it means."""
    from pdl1es.settings import Settings

    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{key}` | {_value(default)} | {description} |"
        for key, default, description in _fields(Settings)
        if not key.startswith(("application", "resources"))
    ]
    return "\n".join(lines)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{key}.")
        else:
            yield key, field.get_default(call_default_factory=True), _meaning(model, name)


def gateway_settings_table() -> str:
    """Return every key of ``gateway.yaml`` with its default, what is allowed and what it means."""
    from gateway.settings.file import GatewaySettings

    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in _nested_fields(GatewaySettings)]
    return "\n".join(lines)


def _nested_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Give every key of a model and of those within it: ``[]`` stands for each of a list, ``[kind]`` for those of one kind."""
    for name, field in model.model_fields.items():
        within = list(_models_within(field.annotation))
        is_list = get_origin(field.annotation) is tuple
        if not within or is_list or len(within) > 1:
            default = field.get_default(call_default_factory=True)
            shown = "must be given" if field.is_required() else "" if default in (None, ()) else _value(default)
            yield f"{prefix}{name}", shown, _meaning(model, name)
        for one in within:
            kinds = get_args(one.model_fields["kind"].annotation) if "kind" in one.model_fields else ()
            several = f"[{kinds[0]}]" if kinds and len(within) > 1 else "[]" if is_list else ""
            yield from _nested_fields(one, f"{prefix}{name}{several}.")


def _models_within(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_within(part)


def _meaning(model: type[BaseModel], name: str) -> str:
    schema = model.model_json_schema()["properties"][name if not (a := model.model_fields[name].alias) else a]
    meaning = schema.get("description", "")
    choices = [str(choice) for choice in schema.get("enum", schema.get("items", {}).get("enum", ()))]
    bounds = [f"{sign} {schema[key]}" for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"),
              ("maximum", "<="), ("exclusiveMaximum", "<")) if key in schema]  # fmt: skip
    allowed = ", ".join([f"`{choice}`" for choice in choices] or bounds)
    return f"{meaning} ({allowed})" if meaning and allowed else meaning or allowed


def _value(value: Any) -> str:
    if isinstance(value, tuple | list | set | frozenset):
        value = [str(item) for item in value]
        if len(json.dumps(value)) > 40:
            return f"a list of {len(value)}"
    return f"`{json.dumps(value, ensure_ascii=False, default=str)}`"


def command_reference() -> str:
    """Return every command of the run time with its arguments and options, as its help has them."""
    from pdl1es.command_line.cli import app

    group: Any = typer.main.get_command(app)
    return "\n\n".join(_command(name, group.commands[name]) for name in run_time_commands())


def gateway_command_reference() -> str:
    """Return every command of the gateway with its arguments and options, as its help has them."""
    from gateway.steer.cli import app

    group: Any = typer.main.get_command(app)
    steer = group.commands["gateway"]
    parts = [_command("serve", group.commands["serve"])]
    parts += [_command(f"gateway {name}", command) for name, command in steer.commands.items()]
    return "\n\n".join(parts).replace("\n## ", "\n### ").replace("## `pdl1es serve`", "### `pdl1es serve`", 1)


def run_time_commands() -> list[str]:
    """Return the names of the commands that an installation without the training has."""
    from pdl1es.command_line.cli import app

    return [
        command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        for command in app.registered_commands
    ]


def _command(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=f"pdl1es {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f"## `pdl1es {name}`",
        "",
        f"`pdl1es {name} {usage}`",
        "",
        *(command.help or "").partition("\f")[0].strip().splitlines(),
        "",
    ]
    lines += ["| argument or option | default | meaning |", "|---|---|---|"]
    for parameter in command.params:
        if parameter.name == "help":
            continue
        shown = parameter.opts if parameter.opts[0].startswith("-") else [parameter.metavar or parameter.name.upper()]
        names = ", ".join(f"`{name}`" for name in shown)
        meaning = (parameter.help or "").replace("|", r"\|")
        if parameter.envvar:
            meaning += f" Variable: `{parameter.envvar}`."
        lines.append(f"| {names} | {_default(parameter)} | {meaning} |")
    return "\n".join(lines)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "must be given"
    shown = parameter.show_default
    if isinstance(shown, str):
        return shown
    if parameter.default is None or parameter.default is False or (not shown and parameter.default != 0):
        return ""
    return f"`{parameter.default}`"


def shipped_model() -> str:
    """Return what the model that ships is, in its own file's words."""
    from pdl1es.features.names import FEATURE_NAMES

    folder = REPOSITORY / "models" / "pdl1es"
    model = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))["pdl1es"]
    phantom = json.loads((folder / "self_test.json").read_text(encoding="utf-8"))
    test = model["training"]["networks"]["PD-L1ES"]["auc"]["test"]
    return "\n".join([
        "| the model that ships | |",
        "|---|---|",
        f"| name and version | {model['name']} {model['version']} |",
        f"| training data | {model['training_data']}: {model['trained_on']} |",
        f"| intended use | {model['intended_use']} |",
        f"| AUC on its test split | {test['value']:.2f} ({test['lower']:.2f} to {test['upper']:.2f}), "
        f"{test['patients']} phantoms |",
        f"| score is a calibrated probability | {'yes' if model['calibrated'] else 'no'} |",
        f"| radiomic features that it uses | {len(model['selected_features'])} of {len(FEATURE_NAMES)} |",
        f"| cut-off of high expression | {model['expression_cut_off']['value']:.3f} |",
        f"| score of the self-test's phantom | {phantom['score']:.4f} |",
    ])  # fmt: skip


def inspection_keys() -> str:
    """Return every key of what ``pdl1es inspect --json`` prints."""
    from pdl1es.inspection_document import InspectionDocument

    lines = ["| key | meaning |", "|---|---|"]
    lines += [f"| `{key}` | {field.description} |" for key, field in _document_fields(InspectionDocument)]
    return "\n".join(lines)


def _document_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Give every field of a model and of the models within it, with the path that leads to it."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        within = [part for part in (field.annotation, *get_args(field.annotation)) if isinstance(part, type)]
        for part in within:
            if issubclass(part, BaseModel):
                several = "[]" if get_origin(field.annotation) is tuple else ""
                yield from _document_fields(part, f"{prefix}{name}{several}.")


def rooms(folder: str) -> str:
    """Return every room and module of a package with the first sentence of its docstring."""
    root = REPOSITORY / folder
    lines = ["| where | what it is about |", "|---|---|"]
    for path in sorted(root.iterdir(), key=lambda path: (path.is_file(), path.name)):
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix != ".py" or path.name == "__init__.py" or not file.is_file():
            continue
        summary = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0]
        shown = f"`{folder}/{path.name}/`" if path.is_dir() else f"`{folder}/{path.name}`"
        lines.append(f"| {shown} | {summary.replace('``', '`')} |")
    return "\n".join(lines)


def filled_checklist(key: str) -> str:
    """Return a checklist as it is filled for the model that ships."""
    from training.checklists.filled import fill_checklists, read_answers
    from training.checklists.run_facts import read_run_facts
    from training.checklists.tables import checklist_table

    answers = read_answers(REPOSITORY / "docs" / "checklist-answers.yaml")
    return checklist_table(fill_checklists(read_run_facts(REPOSITORY / "models" / "pdl1es"), answers)[key])


FACTS: Final[dict[str, Callable[[], str]]] = {
    "settings": settings_table,
    "commands": command_reference,
    "gateway-settings": gateway_settings_table,
    "gateway-commands": gateway_command_reference,
    "inspection": inspection_keys,
    "model": shipped_model,
    **{f"checklist-{key}": partial(filled_checklist, key) for key in CHECKLISTS},
    "steps": chain_diagram.steps_table,
    "core": lambda: rooms("pdl1es"),
    "gateway": lambda: rooms("gateway"),
    "gateway-metrics": metrics_table,
    "peer-failures": peer_failure_table,
    "training": lambda: rooms("training"),
}


def pages() -> list[Path]:
    """Return the documents that may hold generated parts."""
    return sorted(file for pattern in PAGES for file in REPOSITORY.glob(pattern))


def renewed(text: str) -> str:
    """Return a page's text with every generated part as the code has it now.

    Raises
    ------
    KeyError
        A part has a name that is none of `FACTS`.
    """
    return PART.sub(lambda part: f"{part['start']}{FACTS[part['name']]()}\n{part['end']}", text)


def main() -> None:
    """Rewrite the pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := renewed(text)) != text:
            page.write_text(new, encoding="utf-8")
            print(f"renewed {page.relative_to(REPOSITORY)}")
    chain_diagram.main()


if __name__ == "__main__":
    main()

"""What a document says of commands, settings, model, image and codes is what they are."""

from __future__ import annotations

import json
import re
import shlex
from importlib.util import find_spec
from typing import Any

import pytest
import typer
import yaml

from docs import chain_diagram
from docs.facts import FACTS, PART, pages, renewed, run_time_commands
from pdl1es import __version__
from pdl1es.command_line.cli import app
from pdl1es.errors import RefusalCode
from pdl1es.exit_code import ExitCode
from pdl1es.settings import DEFAULT_FILE, Settings
from tests.unit.docs.documents import REPOSITORY, documents, prose, text_of, tracked_files

USAGE_ERROR: Any = typer.BadParameter.__base__


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_generated_parts_are_current(page: Any) -> None:
    """`python -m docs.facts` renews them."""
    text = page.read_text(encoding="utf-8")
    assert renewed(text) == text


def test_every_fact_that_can_be_generated_stands_in_a_document() -> None:
    used = {part["name"] for page in pages() for part in PART.finditer(page.read_text(encoding="utf-8"))}
    assert used == set(FACTS)


# ---------------------------------------------------------------------------------------------------------------------
# Commands
# ---------------------------------------------------------------------------------------------------------------------


def typed_commands(text: str) -> list[list[str]]:
    """The arguments of every `pdl1es` command of the run time that a document shows, in blocks and in lines.

    ``docker run ... pdl1es:cpu self-test`` counts too. Words in capitals stand for values; brackets and ellipses are
    what a synopsis writes.
    """
    found = []
    blocks = re.findall(r"^```(?:bash|sh|shell)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(pdl1es [^`]+)`", text.replace("\n", " "))
    for line in lines:
        match = re.search(r"(?:^|\s)(?:\S*/)?(?:pdl1es|pdl1es:\w+|python app) +([a-z-]+)\b(.*)", line)
        if match and match[1] in run_time_commands():
            rest = re.sub(r"[\[\]{}]|\.\.\.", " ", match[2].split("  #")[0])
            found.append([match[1], *shlex.split(rest, comments=True)])
    return found


def fault(arguments: list[str]) -> str | None:
    """What the command line does not understand, or None; files need not exist."""
    group: Any = typer.main.get_command(app)
    command = group.commands[arguments[0]]
    given = [argument for argument in arguments[1:] if argument not in {"OPTIONS"}]
    numbers = {"N": "1", "MM": "5"}
    try:
        _, left, _ = command.make_parser(command.context_class(command)).parse_args([numbers.get(a, a) for a in given])
    except USAGE_ERROR as error:
        return f"{shlex.join(arguments)}: {error}"
    return f"{shlex.join(arguments)}: {left} is too much" if left else None


def test_every_command_that_a_document_shows_is_one() -> None:
    commands = [command for document in documents() for command in typed_commands(text_of(document))]
    assert {command[0] for command in commands} == set(run_time_commands())
    assert [said for command in commands if (said := fault(command))] == []


@pytest.mark.parametrize(
    ("command", "says"), [(["run", "A", "B", "--wild"], "--wild"), (["inspect", "A", "B"], "too much")]
)
def test_a_command_that_there_is_not_is_found_out(command: list[str], says: str) -> None:
    assert says in (fault(command) or "")


@pytest.mark.parametrize("document", ["docs/command-line.md", "docs/deploy.md"])
def test_the_exit_codes_are_all_listed(document: str) -> None:
    table = re.search(r"^\| exit code .*?\n\n", text_of(document), re.DOTALL | re.MULTILINE)
    assert table
    assert [int(code) for code in re.findall(r"^\| (\d) \|", table[0], re.MULTILINE)] == sorted(ExitCode)


def test_every_variable_of_the_environment_is_read_by_something() -> None:
    table = text_of("docs/command-line.md").split("## Variables of the environment")[1]
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", table))
    named -= {"TZ", "OFF"}  # the C library's own, and a value
    framework = {"HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH"}  # MONAI Deploy's RuntimeEnv reads them
    source = "".join(text_of(name) for name in tracked_files() if re.fullmatch(r"(pdl1es|app|operators)/.*\.py", name))
    assert [name for name in sorted(named - framework) if f'"{name}"' not in source] == []


# ---------------------------------------------------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------------------------------------------------


def keys_of(model: Any, prefix: str = "") -> set[str]:
    """Every key that the settings know, dotted."""
    found = set()
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        found.add(key)
        if hasattr(field.annotation, "model_fields"):
            found |= keys_of(field.annotation, f"{key}.")
    return found


def gateway_keys() -> set[str]:
    """Every key of ``gateway.yaml``, dotted; nothing where the gateway is not installed."""
    if not find_spec("dbos"):
        return set()
    from gateway.settings.file import GatewaySettings

    return keys_of(GatewaySettings)


def test_every_settings_key_that_a_document_names_exists() -> None:
    sections = {key.partition(".")[0] for key in keys_of(Settings) if "." in key}
    named = {
        code.partition(":")[0]
        for document in documents()
        for code in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+(?:: ?[^`]*)?)`", prose(text_of(document)))
        if code.partition(".")[0] in sections and not re.search(r"\.(?:html|json|csv|onnx|yaml|py)$", code)
    }
    assert len(named) > 20
    assert named - keys_of(Settings) - gateway_keys() == set()


def test_every_key_that_app_yaml_shows_is_described_in_the_table() -> None:
    def leaves(value: Any, prefix: str = "") -> set[str]:
        if not isinstance(value, dict):
            return {prefix.rstrip(".")}
        return {leaf for key, part in value.items() for leaf in leaves(part, f"{prefix}{key}.")}

    shown = {
        key for key in leaves(yaml.safe_load(DEFAULT_FILE.read_text(encoding="utf-8")))
        if not key.startswith(("application", "resources"))
    }  # fmt: skip
    table = text_of("docs/settings.md")
    assert {key for key in shown if f"| `{key}` |" not in table} == set()


# ---------------------------------------------------------------------------------------------------------------------
# Model, image, numbers
# ---------------------------------------------------------------------------------------------------------------------


def test_no_document_says_of_the_shipped_model_what_its_file_does_not() -> None:
    model = json.loads((REPOSITORY / "models" / "pdl1es" / "metadata.json").read_text(encoding="utf-8"))["pdl1es"]
    assert model["training_data"] == "synthetic"
    claims = re.compile(r"model that ships[^.|]*?(random weights|untrained)", re.IGNORECASE)
    assert [document for document in documents() if claims.search(" ".join(text_of(document).split()))] == []
    for document in ("README.md", "docs/deploy.md"):
        assert "synthetic phantoms" in text_of(document), document
        assert "demonstration" in text_of(document), document


def test_the_card_has_the_numbers_of_the_file() -> None:
    folder = REPOSITORY / "models" / "pdl1es"
    model = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))["pdl1es"]
    test = model["training"]["networks"]["PD-L1ES"]["auc"]["test"]
    card = text_of("models/pdl1es/MODEL_CARD.md")
    assert f"{test['value']:.2f} ({test['lower']:.2f}-{test['upper']:.2f})" in card
    assert f"> {model['expression_cut_off']['value']:.4f}: {model['expression_cut_off']['above']}" in card


def test_the_deployment_states_the_image_sizes_that_were_measured() -> None:
    measured = re.search(r"^- unpacked: ([\d.]+) GB$", text_of("benchmarks/results/container.md"), re.MULTILINE)
    assert measured
    stated = re.findall(r"CPU[^.\n]*?([\d.]+) GB unpacked", text_of("docs/deploy.md"))
    assert stated
    assert {float(size) for size in stated} == {round(float(measured[1]), 1)}


def test_numbers_of_codes_that_documents_state_are_right() -> None:
    stated = [
        int(number)
        for document in documents()
        if not document.startswith("CHANGELOG")
        for number in re.findall(r"\b(\d+) (?:refusal codes|codes of refusal|reasons for refusal)", text_of(document))
    ]
    assert set(stated) <= {len(RefusalCode)}


def test_the_version_is_the_same_wherever_it_stands() -> None:
    assert f"\nversion: {__version__}\n" in text_of("CITATION.cff")
    assert re.search(rf"^## \[?({re.escape(__version__)}|Unreleased)\b", text_of("CHANGELOG.md"), re.MULTILINE)


def test_the_diagram_is_drawn_from_the_operators_ports() -> None:
    assert chain_diagram.PICTURE.read_text(encoding="utf-8") == chain_diagram.picture()
    drawn = re.findall(r"<title>(\w+): ([^<]+)</title>", chain_diagram.picture())
    assert set(drawn) == {taken for step in chain_diagram.chain_steps() for taken in step.takes.items()}

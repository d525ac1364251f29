"""Draws the chain from its operators' own ports: ``python -m docs.chain_diagram`` writes ``docs/images/chain.svg``.

Steps stand below one another in their order. Each has one output: a line that goes down from it, labelled with its type.
Where a step takes it, an arrow leads from the line to the step.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import UnionType
from typing import Any, Final, get_args

PICTURE: Final = Path(__file__).resolve().parent / "images" / "chain.svg"

BOX_X, BOX_WIDTH, BOX_HEIGHT = 20, 190, 40
PITCH: Final = 66
"""From one step to the next."""
TOP: Final = 20
LANE_X, LANE_PITCH = 246, 46
COLOURS: Final = ("#2f6fb3", "#b3562f", "#2f8f5b", "#8a4fb0", "#a0812c", "#b03a6a", "#3a8f99")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the chain, as its operator declares it.

    Attributes
    ----------
    name
        In `pdl1es.chain.STEPS`.
    function
        The function that the operator calls, with its module.
    file
        The operator's file.
    takes
        Types of the input ports by name.
    gives, gives_type
        The output port and its type.
    """

    name: str
    function: str
    file: str
    takes: dict[str, str]
    gives: str
    gives_type: str


def chain_steps() -> list[Step]:
    """Return the steps in their order."""
    import app.application  # noqa: F401 - loads every operator
    from operators.step import StepOperator
    from pdl1es.chain import STEPS

    ours = [operator for operator in _subclasses(StepOperator) if operator.__module__.startswith("operators.")]
    operators = {operator.step: operator for operator in ours if hasattr(operator, "step")}
    return [
        Step(
            name,
            _function(operators[name]),
            f"operators/{Path(inspect.getfile(operators[name])).name}",
            {port: type_name(kind) for port, kind in operators[name].inputs().items()},
            operators[name].emits,
            type_name(operators[name].output()),
        )
        for name in STEPS
    ]


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for one in kind.__subclasses__():
        yield one
        yield from _subclasses(one)


def _function(operator: type[Any]) -> str:
    """Return the function of the core that an operator calls last."""
    module = inspect.getmodule(operator)
    calls = sorted(
        (node.lineno, node.func.id)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(operator))))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    called = [getattr(module, name, None) for _, name in calls]
    core = [one for one in called if inspect.isfunction(one) and one.__module__ in ("pdl1es.chain", "pdl1es.outcome")]
    return f"{core[-1].__module__}.{core[-1].__name__}"


def type_name(kind: Any) -> str:
    """Return a type as a reader says it: ``BuiltReport or None``."""
    if isinstance(kind, UnionType):
        return " or ".join(type_name(part) for part in get_args(kind))
    return "None" if kind is type(None) else "array" if kind.__name__ == "ndarray" else kind.__name__


def steps_table() -> str:
    """Return the steps as a table in Markdown."""
    lines = ["| step | takes | gives | function | operator |", "|---|---|---|---|---|"]
    for step in chain_steps():
        takes = ", ".join(f"`{port}`: {kind}" for port, kind in step.takes.items()) or "the study's folder"
        gives = f"`{step.gives}`: {step.gives_type}"
        lines.append(
            f"| {step.name.replace('_', ' ')} | {takes} | {gives} | `{step.function}` | [{step.file}](../{step.file}) |"
        )
    return "\n".join(lines)


def picture() -> str:
    """Return the diagram as SVG."""
    steps = chain_steps()
    row = {step.name: TOP + number * PITCH for number, step in enumerate(steps)}
    lane = {step.gives: LANE_X + number * LANE_PITCH for number, step in enumerate(steps)}
    colour = {step.gives: COLOURS[number % len(COLOURS)] for number, step in enumerate(steps)}
    width = lane[steps[-1].gives] + 160
    height = TOP * 2 + len(steps) * PITCH - (PITCH - BOX_HEIGHT)
    parts: list[str] = []
    for step in steps:
        users = [row[other.name] for other in steps if step.gives in other.takes]
        y = row[step.name] + BOX_HEIGHT - 9
        x, shade = lane[step.gives], colour[step.gives]
        parts.append(f'<path d="M{BOX_X + BOX_WIDTH} {y} H{x}' + (f' V{max(users) + 12}"' if users else '"')
                     + f' stroke="{shade}"/>')  # fmt: skip
        parts.append(f'<text class="type" x="{x + 7}" y="{y + 4}" fill="{shade}">{escape(step.gives_type)}</text>')
    for step in steps:
        y, end = row[step.name] + 12, BOX_X + BOX_WIDTH
        if step.takes:  # the arrows of one step share a line; each joins it at a dot of its own colour
            parts.append(f'<path d="M{max(lane[port] for port in step.takes)} {y} H{end + 4}" class="join"/>')
            parts.append(f'<path d="M{end + 9} {y - 4} L{end + 1} {y} L{end + 9} {y + 4} Z" class="head"/>')
        parts += [
            f'<circle cx="{lane[port]}" cy="{y}" r="4" fill="{colour[port]}"><title>{port}: {escape(kind)}</title></circle>'
            for port, kind in step.takes.items()
        ]
        parts.append(
            f'<rect x="{BOX_X}" y="{row[step.name]}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
            f'<text class="step" x="{BOX_X + 10}" y="{row[step.name] + 17}">{step.name.replace("_", " ")}</text>'
            f'<text class="function" x="{BOX_X + 10}" y="{row[step.name] + 32}">{step.function.rpartition(".")[2]}()</text>'
        )
    style = """
  text { font-family: system-ui, sans-serif; font-size: 12px }
  .step { font-weight: 600; font-size: 13px; fill: #222 }
  .function { font-family: ui-monospace, monospace; font-size: 11px; fill: #555 }
  .type { font-weight: 600; paint-order: stroke; stroke: #fff; stroke-width: 4px }
  path { fill: none; stroke-width: 2 }
  .join { stroke: #999; stroke-width: 1.5 }
  .head { fill: #666; stroke: none }
  rect { fill: #f4f6f8; stroke: #9aa4ae }
  .ground { fill: #fff; stroke: none }
"""
    body = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="The steps of the chain, and the type that each passes on">\n'
        f"<style>{style}</style>\n"
        f'<rect class="ground" width="{width}" height="{height}"/>\n{body}\n</svg>\n'
    )


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()

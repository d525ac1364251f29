"""The package that stands for pyradiomics 3.0.1 holds its code.

pyradiomics-bhklab 3.1.4 is installed, because pip can build it. Its C sources are those of pyradiomics 3.0.1, byte for
byte (lock.txt pins the archive by its hash); of the Python code only documentation and the casts of a mask's label
differ. The digests below were made from pyradiomics 3.0.1's own source archive: code without comments and docstrings.
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import pytest
import radiomics

MODULES = {
    "base": "1b575fac7e2d538f",
    "firstorder": "8d89b2ca97e22da1",
    "glcm": "8e331880ba457b50",
    "gldm": "f334ce20f270d479",
    "glrlm": "e95b9abcf229671a",
    "glszm": "a10f91b7b6223ebc",
    "ngtdm": "31b4fa32ed063d75",
    "shape": "778f71490882ba7a",
}
FUNCTIONS_OF_IMAGEOPERATIONS = {
    "binImage": "aaec80797cec35d0",
    "cropToTumorMask": "b6b1efbcb9697a99",
    "getBinEdges": "8731426d69be4be7",
    "getExponentialImage": "7e8500aa85635bc9",
    "getGradientImage": "3e6b2873a00754b9",
    "getLBP2DImage": "626d8c74fa568f2c",
    "getLoGImage": "decc358a7676bf1e",
    "getLogarithmImage": "eff2ab7df4d4bea5",
    "getSquareImage": "1e45a13a1b011142",
    "getSquareRootImage": "726beb7ed0596c8f",
    "getWaveletImage": "caf9ae27414d9dcd",
    "_swt3": "216e3fe75e6c6a60",
}
FOLDER = Path(radiomics.__file__).parent


def digest_of_code(body: list[ast.stmt]) -> str:
    """Return a digest of statements without their docstrings."""
    module = ast.Module(body=body, type_ignores=[])
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(module).encode()).hexdigest()[:16]


def statements_of(module: str) -> list[ast.stmt]:
    """Return the statements of a module of the installed package."""
    return ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8")).body


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence")
@pytest.mark.parametrize("module", MODULES)
def test_every_class_of_features_has_the_code_of_pyradiomics_3_0_1(module: str) -> None:
    assert digest_of_code(statements_of(module)) == MODULES[module]


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence")
def test_bins_and_filters_have_the_code_of_pyradiomics_3_0_1() -> None:
    functions = {node.name: node for node in statements_of("imageoperations") if isinstance(node, ast.FunctionDef)}
    found = {name: digest_of_code([functions[name]]) for name in FUNCTIONS_OF_IMAGEOPERATIONS}
    assert found == FUNCTIONS_OF_IMAGEOPERATIONS

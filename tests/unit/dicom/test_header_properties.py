"""Whatever bytes a file holds, it is read, given up with a reason, or no DICOM: nothing else happens."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError, data_set_start
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.segmentation import parse_segmentation
from pdl1es.dicom.stack import ct_series
from pdl1es.errors import Refusal
from tests.unit.dicom.damaged_bytes import damaged
from tests.unit.dicom.small_files import ct_dataset, items, segmentation_dataset, write

OFTEN: Final = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SYNTAXES: Final = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
)  # fmt: skip
KINDS: Final = ("CT", "SEG")
VRS: Final = ["AT", "CS", "DS", "FD", "IS", "LO", "OB", "PN", "SQ", "UI", "UL", "UN", "US", "UT", "ZZ", "\0\1"]
VALUES: Final = st.one_of(
    st.binary(max_size=40),
    st.text("0123456789.-+eE\\ \0naif", max_size=24).map(str.encode),
    st.sampled_from([b"", b"\\", b"1\\2", b"1e999", b"nan", b"-0", b"9" * 5000, b"\xff" * 16, b"\xfe\xff\x00\xe0" * 3]),
)


def dataset_of(kind: str) -> Dataset:
    """Return a small CT image or SEG."""
    if kind == "SEG":
        return segmentation_dataset(np.ones((3, 4, 4)), (1, 1, 2))
    return ct_dataset(SourceImageSequence=items({"ReferencedSOPInstanceUID": "1.2"}), ConvolutionKernel=["Br59", "3"])


def outcome(path: Path) -> str:
    """Read a file as the study's reader and the selection do, and return how that ends; anything else is raised."""
    try:
        instance = read_instance(path)
    except NotDicomError:
        return "no DICOM"
    except UnreadableFileError:
        return "given up"
    assert isinstance(instance, Instance)
    assert all(
        (element.value, element.VM) for element in instance.header.iterall()
    )  # reading an element raises nothing
    for parse in (lambda: ct_series([instance]), lambda: parse_segmentation(instance)):
        with contextlib.suppress(Refusal):
            parse()
    return "read"


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_never_cost_more_than_their_file(kind: str, tmp_path: Path) -> None:
    wholes = [write(tmp_path / f"{n}", dataset_of(kind), syntax).read_bytes() for n, syntax in enumerate(SYNTAXES)]
    assert [outcome(tmp_path / f"{n}") for n in range(len(SYNTAXES))] == ["read"] * len(SYNTAXES)
    path = tmp_path / "damaged"

    @OFTEN
    @given(st.sampled_from(wholes).flatmap(damaged))
    def holds(data: bytes) -> None:
        path.write_bytes(data)
        outcome(path)

    holds()


def element_bytes(tag: int, vr: str, value: bytes) -> bytes:
    """Return an element in explicit VR, little endian (PS3.5 7.1.2)."""
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    long = vr in EXPLICIT_VR_LENGTH_32
    return head + (struct.pack("<HL", 0, len(value)) if long else struct.pack("<H", len(value) & 0xFFFF)) + value


@pytest.mark.parametrize("kind", KINDS)
def test_an_element_of_any_vr_and_value_costs_at_most_its_file(kind: str, tmp_path: Path) -> None:
    """Unlike changed bytes, such a file is well formed up to its values: they reach the conversion and the parsers."""
    whole = write(tmp_path / "whole", dataset_of(kind)).read_bytes()
    start = data_set_start(whole)
    raw = list(data_element_generator(io.BytesIO(whole[start:]), False, True))
    elements = [(int(e.tag), str(e.VR), bytes(e.value or b"")) for e in raw]
    assert whole[start:] == b"".join(element_bytes(*element) for element in elements)
    path = tmp_path / "odd"
    read = 0

    @OFTEN
    @given(st.dictionaries(st.integers(0, len(elements) - 1), st.tuples(st.sampled_from(VRS), st.booleans(), VALUES),
                           min_size=1, max_size=3))  # fmt: skip
    def holds(changes: dict[int, tuple[str, bool, bytes]]) -> None:
        nonlocal read
        changed: list[Any] = list(elements)
        for index, (vr, other_vr, value) in changes.items():
            changed[index] = (elements[index][0], vr if other_vr else elements[index][1], value)
        path.write_bytes(whole[:start] + b"".join(element_bytes(*element) for element in changed))
        read += outcome(path) == "read"

    holds()
    assert read > 20

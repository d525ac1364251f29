"""An object's identity: what the index says of it is what the chain reads, also where a data set breaks the order of its elements."""

from __future__ import annotations

import struct

import pytest

from gateway.objects.errors import OtherObjectError
from gateway.objects.identity import HEAD_BYTES, may_say_more
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.records import StudyKey
from pdl1es.dicom.file_format import data_set_start
from pdl1es.dicom.study import scan_study
from tests.gateway.made_objects import made_object

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
ORIGIN = ObjectOrigin("pacs", "dimse", "SENDER")
PIXEL_DATA = b"\xe0\x7f\x10\x00"
TAGS = {"class": (8, 0x16), "instance": (8, 0x18), "study": (0x20, 0xD), "series": (0x20, 0xE)}


def element(name: str, value: bytes) -> bytes:
    return struct.pack("<HH2sH", *TAGS[name], b"UI", len(value)) + value


def data_set(file: bytes) -> bytes:
    return file[data_set_start(file) :]


def with_another(name: str, value: bytes, between: bytes = b"") -> bytes:
    """Return a file in which an element comes again just before Pixel Data."""
    file = made_object("1.2.3.4", study="1.2", series="1.2.9")
    at = file.rindex(PIXEL_DATA)
    return file[:at] + between + element(name, value) + file[at:]


def sent(store: ObjectStore, file: bytes) -> None:
    """Store an object as a C-STORE request brings it."""
    with store.begin() as reception:
        start = data_set_start(file)
        reception.write_meta(file[:start])
        reception.write(file[start:])
        reception.complete(EXPLICIT, ORIGIN, (CT, "1.2.3.4"))


private = struct.pack("<HH2sHL", 0x0029, 0x1010, b"OB", 0, 2 * HEAD_BYTES) + bytes(2 * HEAD_BYTES)


@pytest.mark.parametrize("between", [b"", private], ids=["within the first bytes", "behind them"])
def test_an_object_with_a_second_uid_that_is_not_the_requests_is_refused(store: ObjectStore, between: bytes) -> None:
    with pytest.raises(OtherObjectError):
        sent(store, with_another("instance", b"1.2.9.9.9\0", between))
    assert store.index.studies() == ()


@pytest.mark.parametrize(("name", "value"), [("study", b"1.2.7.7\0"), ("series", b"1.2.8.8\0")])
def test_of_an_element_that_comes_twice_the_index_takes_the_one_that_the_chain_reads(
    store: ObjectStore, name: str, value: bytes
) -> None:
    sent(store, with_another(name, value))
    (stored,) = store.index.every_object()
    (read,) = scan_study(store.study_folder(stored.study)).instances
    assert (stored.sop_instance_uid, stored.series_instance_uid, stored.study_instance_uid) == (
        read.sop_instance_uid,
        read.series_instance_uid,
        read.study_instance_uid,
    )
    assert value.decode().strip("\0") in (stored.series_instance_uid, stored.study_instance_uid)


def test_an_object_whose_header_is_damaged_behind_its_uids_is_kept_for_the_chain_to_refuse(store: ObjectStore) -> None:
    file = made_object("1.2.3.4", study="1.2")
    sent(store, file[: file.rindex(PIXEL_DATA) - 3])
    assert len(store.objects_of(StudyKey("1.2"))) == 1


def test_a_plain_image_is_not_read_twice() -> None:
    plain = data_set(made_object("1.2.3.4"))
    assert not may_say_more(plain, whole=True)
    assert not may_say_more(plain[:-100], whole=False)
    assert may_say_more(plain[: plain.rindex(PIXEL_DATA)], whole=False)
    assert may_say_more(data_set(with_another("class", b"1.2.840\0")), whole=True)

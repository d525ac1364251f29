"""Studies as bytes, and a gateway up to the point where runs are asked for."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pydicom

from gateway.arrival.judge import ArrivalJudge
from gateway.arrival.settings import ArrivalRules
from gateway.database import create_tables, open_database
from gateway.objects.in_flight import InFlight
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.records import StudyKey
from pdl1es.phantom.dicom import make_phantom_study
from pdl1es.settings import Settings

MARGIN_MM = 10.0


@dataclass(frozen=True)
class Made:
    """A study's files: the SEG, the CT by position, and which of the CT has to be there for a run."""

    study: StudyKey
    seg: bytes
    ct: tuple[bytes, ...]
    needed: frozenset[str]

    @property
    def everything(self) -> list[bytes]:
        return [self.seg, *self.ct]


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def changed(data: bytes, change: Callable[[pydicom.Dataset], None]) -> bytes:
    made = read(data)
    change(made)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    buffer = io.BytesIO()
    made.save_as(buffer)
    return buffer.getvalue()


def frame_positions(seg: pydicom.Dataset) -> list[float]:
    frames = seg.PerFrameFunctionalGroupsSequence
    return [float(frame.PlanePositionSequence[0].ImagePositionPatient[2]) for frame in frames]


def made_study(files: list[bytes]) -> Made:
    """What the files are, by what pydicom reads of them."""
    headers = [(read(data), data) for data in files]
    (seg,) = [pair for pair in headers if pair[0].Modality == "SEG"]
    ct = sorted(
        (pair for pair in headers if pair[0].Modality == "CT"), key=lambda pair: pair[0].ImagePositionPatient[2]
    )
    tumour = frame_positions(seg[0])
    near = {
        str(header.SOPInstanceUID)
        for header, _ in ct
        if min(tumour) - MARGIN_MM <= header.ImagePositionPatient[2] <= max(tumour) + MARGIN_MM
    }
    return Made(StudyKey(str(seg[0].StudyInstanceUID)), seg[1], tuple(data for _, data in ct), frozenset(near))


def made_studies(folder: Path, count: int) -> tuple[Made, ...]:
    """Studies of 32 slices of 3 mm, alike but for their UIDs; the SEG references all of them."""
    make_phantom_study(folder, seed=0, matrix=128, slices=(24, 56))
    return _copies([path.read_bytes() for path in sorted(folder.rglob("*.dcm"))], count)


def made_studies_of_a_small_tumour(folder: Path, count: int) -> tuple[Made, ...]:
    """As `made_studies`, but a run needs 13 of the 32 slices, and the SEG references those that it was drawn on alone."""
    made = make_phantom_study(folder, seed=0, matrix=128, slices=(24, 56), tumour_diameter=20.0)
    made.seg_path.write_bytes(changed(made.seg_path.read_bytes(), _references_of_frames_alone))
    return _copies([path.read_bytes() for path in sorted(folder.rglob("*.dcm"))], count)


def _references_of_frames_alone(seg: pydicom.Dataset) -> None:
    frames = seg.PerFrameFunctionalGroupsSequence
    derived = [item for frame in frames for item in frame.DerivationImageSequence]
    drawn_on = {source.ReferencedSOPInstanceUID for item in derived for source in item.SourceImageSequence}
    for series in seg.ReferencedSeriesSequence:
        images = series.ReferencedInstanceSequence
        series.ReferencedInstanceSequence = [one for one in images if one.ReferencedSOPInstanceUID in drawn_on]
    seg.pop("SourceImageSequence", None)


def _copies(files: list[bytes], count: int) -> tuple[Made, ...]:
    # Another root of the same length: 2.25., 2.10., 2.11. and so on
    roots = [b"2.25.", *(b"2.%d." % number for number in range(10, 100) if number != 25)]
    return tuple(made_study([data.replace(b"2.25.", root) for data in files]) for root in roots[:count])


@dataclass
class Gateway:
    """A store with its judge, and what it would have run."""

    store: ObjectStore
    in_flight: InFlight
    judge: ArrivalJudge

    def put(self, data: bytes, holder: str = "") -> None:
        self.store.put(io.BytesIO(data), ObjectOrigin("pacs", "dimse", "SENDER", holder))

    def there(self, study: StudyKey) -> set[str]:
        return {stored.sop_instance_uid for stored in self.store.objects_of(study)}


@contextmanager
def opened(folder: Path, rules: ArrivalRules | None = None) -> Iterator[Gateway]:
    folder.mkdir(parents=True, exist_ok=True)
    engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
    create_tables(engine)
    with ObjectStore(folder / "objects", engine) as store:
        in_flight = InFlight(engine, grace=timedelta(minutes=10))
        yield Gateway(store, in_flight, ArrivalJudge(store, in_flight, Settings(), rules or ArrivalRules()))
    engine.dispose()

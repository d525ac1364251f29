"""Studies that arrive in any order, over any associations: run when they are whole, not before, and not twice."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest

from gateway.arrival.digest import objects_digest
from gateway.clock import utc_now
from gateway.objects.reception import ObjectOrigin
from gateway.records import Complete, Refused, StudyKey, Waiting
from tests.gateway.arrival.made_studies import Gateway, Made, changed, made_studies, opened, read
from tests.gateway.made_objects import made_object


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Made]:
    """Two studies of 32 slices of 3 mm, alike but for their UIDs."""
    one, other = made_studies(tmp_path_factory.mktemp("phantom") / "study", 2)
    return one, other


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with nothing in it."""
    with opened(tmp_path / "gateway") as made:
        yield made


@pytest.mark.parametrize("seed", range(4))
def test_shuffled_arrivals_over_several_associations_are_run_once_and_whole(
    gateway: Gateway, studies: tuple[Made, Made], seed: int
) -> None:
    """Both studies are dealt out to up to four associations, each of which ends after its own last object."""
    chance = random.Random(seed)
    objects = [data for made in studies for data in made.everything]
    chance.shuffle(objects)
    count = chance.randint(1, 4)
    dealt = [(data, f"pacs:1:{chance.randrange(count)}") for data in objects]
    asked: dict[StudyKey, list[str]] = {made.study: [] for made in studies}
    for at, (data, holder) in enumerate(dealt):
        gateway.put(data, holder)
        if all(later != holder for _, later in dealt[at + 1 :]):
            gateway.in_flight.release(holder)
        for made in studies:
            found = gateway.judge(made.study, utc_now())
            if isinstance(found, Complete):
                assert made.needed | set(found.contour) <= gateway.there(made.study)
                asked[made.study].append(found.digest)
            else:
                assert isinstance(found, Waiting)
    for made in studies:
        assert set(asked[made.study]) == {objects_digest(gateway.store.objects_of(made.study))}


@pytest.mark.parametrize("seed", range(3))
def test_no_run_is_premature_where_every_object_has_an_association_of_its_own(
    gateway: Gateway, studies: tuple[Made, Made], seed: int
) -> None:
    """Then geometry alone decides: the contour, all that it references, no gap, 10 mm beyond it."""
    made = studies[0]
    objects = made.everything
    random.Random(seed).shuffle(objects)
    for data in objects:
        gateway.put(data)
        found = gateway.judge(made.study, utc_now())
        if isinstance(found, Complete):
            assert made.needed | set(found.contour) <= gateway.there(made.study)
    assert isinstance(gateway.judge(made.study, utc_now()), Complete)


@pytest.mark.parametrize("kept", ["every second slice", "from one end", "without one in the middle"])
def test_part_of_a_ct_waits_and_the_rest_completes_it(gateway: Gateway, studies: tuple[Made, Made], kept: str) -> None:
    made = studies[0]
    seg = changed(made.seg, _without_references)
    middle = len(made.ct) // 2
    part = {
        "every second slice": made.ct[::2],
        "from one end": made.ct[middle:],
        "without one in the middle": made.ct[:middle] + made.ct[middle + 1 :],
    }[kept]
    for data in (seg, *part):
        gateway.put(data)
    found = gateway.judge(made.study, utc_now())
    assert isinstance(found, Waiting)
    assert found.until is not None
    if kept == "without one in the middle":
        low, high = (float(read(data).ImagePositionPatient[2]) for data in (made.ct[middle - 1], made.ct[middle + 1]))
        assert found.reason == f"slices are missing between {low:.1f} and {high:.1f} mm along the stack"
    for data in made.ct:
        gateway.put(data)
    assert isinstance(gateway.judge(made.study, utc_now()), Complete)


def _without_references(seg: pydicom.Dataset) -> None:
    """A SEG that names its series and no image: geometry alone can tell what is missing."""
    for series in seg.ReferencedSeriesSequence:
        series.ReferencedInstanceSequence = series.ReferencedInstanceSequence[:1]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    seg.pop("SourceImageSequence", None)


def test_a_contour_alone_waits_and_is_refused_after_the_quiet_time(
    gateway: Gateway, studies: tuple[Made, Made]
) -> None:
    made = studies[0]
    gateway.put(made.seg)
    assert isinstance(gateway.judge(made.study, utc_now()), Waiting)
    late = gateway.judge(made.study, utc_now() + timedelta(hours=1))
    assert isinstance(late, Refused)
    assert late.code == "NO_CT"


def test_own_results_that_come_back_change_nothing(gateway: Gateway, studies: tuple[Made, Made]) -> None:
    made = studies[0]
    for data in made.everything:
        gateway.put(data)
    before = gateway.judge(made.study, utc_now())
    gateway.put(made_object("1.2.3.4", study=made.study.study_instance_uid, sop_class="1.2.840.10008.5.1.4.1.1.88.34"))
    assert gateway.judge(made.study, utc_now()) == before


def test_a_corrected_contour_takes_the_place_of_the_former_one(gateway: Gateway, studies: tuple[Made, Made]) -> None:
    made = studies[0]
    for data in made.everything:
        gateway.put(data)
    first = gateway.judge(made.study, utc_now())

    def correct(seg: pydicom.Dataset) -> None:
        seg.SOPInstanceUID = "2.25.1"
        for segment in seg.SegmentSequence:
            if "TrackingUID" in segment:
                segment.TrackingUID = "2.25.2"

    gateway.put(changed(made.seg, correct))
    second = gateway.judge(made.study, utc_now())
    assert isinstance(first, Complete)
    assert isinstance(second, Complete)
    assert second.contour == ("2.25.1",)
    assert second.digest != first.digest


def test_a_contour_of_another_lesion_is_no_correction(gateway: Gateway, studies: tuple[Made, Made]) -> None:
    """Nothing says which one is meant: the chain's rule refuses to guess."""
    made = studies[0]

    def move(seg: pydicom.Dataset) -> None:
        seg.SOPInstanceUID = "2.25.1"
        for segment in seg.SegmentSequence:
            if "TrackingUID" in segment:
                segment.TrackingUID = "2.25.2"
        for frame in seg.PerFrameFunctionalGroupsSequence:
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            frame.PlanePositionSequence[0].ImagePositionPatient = [position[0] + 60, position[1], position[2]]

    for data in (*made.everything, changed(made.seg, move)):
        gateway.put(data)
    late = gateway.judge(made.study, utc_now() + timedelta(hours=1))
    assert isinstance(late, Refused)
    assert late.code == "SEVERAL_TUMOUR_SEGMENTS"


def test_the_digest_is_of_content_and_not_of_order_time_or_sender(tmp_path: Path, studies: tuple[Made, Made]) -> None:
    digests = []
    for number, objects in enumerate((studies[0].everything, studies[0].everything[::-1])):
        with opened(tmp_path / str(number)) as gateway:
            for data in objects:
                gateway.store.put(io.BytesIO(data), ObjectOrigin(f"source-{number}", "folder", f"SENDER{number}"))
            found = gateway.judge(studies[0].study, utc_now())
            assert isinstance(found, Complete)
            digests.append(found.digest)
    assert digests[0] == digests[1]


def test_the_real_case_whose_contour_names_28_of_99_images_waits_for_all_that_is_looked_at(
    gateway: Gateway, shared_data: Path
) -> None:
    folder = shared_data / "ct_4dlung113"
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".md"]
    objects = [data for data in files if data[128:132] == b"DICM"]
    made = {str(read(data).Modality): data for data in objects}
    if "SEG" not in made and "RTSTRUCT" not in made:
        pytest.skip("the case has no contour")
    contours = [data for data in objects if read(data).Modality in ("SEG", "RTSTRUCT")]
    ct = sorted((d for d in objects if read(d).Modality == "CT"), key=lambda d: float(read(d).ImagePositionPatient[2]))
    gateway.put(contours[0])
    study = StudyKey(str(read(contours[0]).StudyInstanceUID))
    middle = len(ct) // 2
    inner = sorted(range(len(ct)), key=lambda at: abs(at - middle))
    complete_at = None
    for count, at in enumerate(inner, start=1):
        gateway.put(ct[at])
        if count % 7 == 0 and isinstance(gateway.judge(study, utc_now()), Complete):
            complete_at = complete_at or count
    assert isinstance(gateway.judge(study, utc_now()), Complete)
    assert complete_at is None or complete_at > 28


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_contour_that_was_drawn_last_counts_in_whatever_order_an_archive_sends_both(
    gateway: Gateway, studies: tuple[Made, Made], order: tuple[int, int]
) -> None:
    made = studies[0]

    def correct(seg: pydicom.Dataset) -> None:
        seg.SOPInstanceUID = "2.25.1"
        seg.ContentTime = "235959"

    contours = (made.seg, changed(made.seg, correct))
    for data in (*made.ct, *(contours[number] for number in order)):
        gateway.put(data)
    found = gateway.judge(made.study, utc_now())
    assert isinstance(found, Complete)
    assert found.contour == ("2.25.1",)

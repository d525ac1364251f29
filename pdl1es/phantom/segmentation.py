"""The tumour of a phantom as a DICOM SEG."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pdl1es.phantom.ct_series import STUDY_DATE, uid_of

SOFTWARE: Final = "PD-L1ES phantom"
LABEL: Final = "Primary lung tumour"
TRACKING_ID: Final = "tumour 1"
MADE: Final = datetime.time(13, 0, 0)
"""When the object says it was made, on the study's date."""


def write_segmentation(path: Path, ct_datasets: Sequence[Dataset], mask: NDArray[np.bool_], *, key: str) -> None:
    """Write a binary SEG with one segment, the tumour, by highdicom; the same arguments give the same bytes.

    Parameters
    ----------
    path
        The file; its folder is made.
    ct_datasets
        The images that it was drawn on.
    mask
        The tumour, shape (images, rows, columns), in the order of ``ct_datasets``; frames without it are left out.
    key
        All UIDs derive from it.
    """
    import highdicom as hd  # loads pydicom's code dictionaries: 0.3 s that only whole studies need
    from pydicom.sr.coding import Code

    date = datetime.datetime.strptime(STUDY_DATE, "%Y%m%d").date()
    seg = hd.seg.Segmentation(
        source_images=list(ct_datasets),
        pixel_array=mask.astype(np.uint8)[..., None],
        segmentation_type="BINARY",
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=1,
                segment_label=LABEL,
                segmented_property_category=Code("49755003", "SCT", "Morphologically Altered Structure"),
                segmented_property_type=Code("86049000", "SCT", "Neoplasm, Primary"),
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
                tracking_id=TRACKING_ID,
                tracking_uid=uid_of(key, "tracking", 1),
                anatomic_regions=[Code("39607008", "SCT", "Lung")],
            )
        ],
        series_instance_uid=uid_of(key, "series"),
        series_number=10,
        sop_instance_uid=uid_of(key, "object"),
        instance_number=1,
        manufacturer=SOFTWARE,
        manufacturer_model_name=SOFTWARE,
        software_versions="1",
        device_serial_number="1",
        content_description="Tumour segmentation",
        content_creator_name="Phantom^Maker",
        content_label="TUMOUR",
        series_description="Tumour segmentation",
        content_date=date,
        content_time=MADE,
        series_date=date,
        series_time=MADE,
    )
    make_reproducible(seg, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)


def make_reproducible(seg: Dataset, key: str) -> None:
    """Replace what highdicom takes from the clock, and the UID that it draws.

    Parameters
    ----------
    seg
        A SEG by highdicom; it is changed.
    key
        The UID derives from it.
    """
    seg["InstanceCreationDate"].value = STUDY_DATE
    seg["InstanceCreationTime"].value = f"{MADE:%H%M%S}"
    for equipment in seg.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = f"{STUDY_DATE}{MADE:%H%M%S}"
    dimension = uid_of(key, "dimension")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        if "DimensionOrganizationUID" in item:
            item.DimensionOrganizationUID = dimension

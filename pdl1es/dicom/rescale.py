"""Rescale Type: in which units a CT's values are after slope and intercept (PS3.3 C.11.1.1.2).

One rule for the choice of the series and for the reading of its pixels, so that no series is chosen that cannot be read.
"""

from __future__ import annotations

from pdl1es.dicom.free_text import shown_term
from pdl1es.dicom.header_elements import tag_text
from pdl1es.errors import Refusal, RefusalCode


def refuse_other_units(rescale_type: object, uid: str) -> None:
    """Refuse an image whose Rescale Type is not Hounsfield units.

    An image without Rescale Type is in Hounsfield units, because a CT must have one only where the units are others
    (PS3.3 C.8.2.1). ``US`` (unspecified) and ``HU_MOD`` (modified Hounsfield units) are no Hounsfield units: the values
    of two such scanners cannot be compared.

    Parameters
    ----------
    rescale_type
        Value of Rescale Type (0028,1054), or None.
    uid
        SOP Instance UID of the image, for the refusal.

    Raises
    ------
    Refusal
        NOT_HU.
    """
    text = "" if rescale_type is None else str(rescale_type)
    if text.strip().upper() not in ("", "HU"):
        raise Refusal(
            RefusalCode.NOT_HU,
            "the image is not rescaled to Hounsfield units",
            tag=tag_text("RescaleType"),
            value=shown_term(text),
            uid=uid,
        )

"""Who drew a contour: a person, a person with a computer's help, or software alone."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

from pdl1es.dicom.segmentation import Segment
from pdl1es.score_warning import ScoreWarning

AlgorithmType = Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"]
"""Terms of Segment Algorithm Type (PS3.3 C.8.20.2) and of ROI Generation Algorithm (C.8.8.5)."""

KNOWN_ALGORITHMS: Final = {
    "totalsegmentator": "TotalSegmentator",
    "monailabel": "MONAI Label",
    "nnunet": "nnU-Net",
    "bamf": "BAMF Health",
    "moose": "MOOSE",
    "lungmask": "lungmask",
    "platipy": "PlatiPy",
    "medsam": "MedSAM",
    "deepedit": "DeepEdit",
    "vista3d": "VISTA-3D",
}
"""Software by a part of the name that it writes. Other names are free text and are not shown."""


def algorithm_type(segment: Segment) -> AlgorithmType | None:
    """Return how a segment was made, or None where the object does not say it in DICOM's terms."""
    said = (segment.algorithm_type or "").upper()
    return next((term for term in get_args(AlgorithmType) if term == said), None)


def algorithm_name(segment: Segment) -> str | None:
    """Return the software that made a segment where its name is a known one; other text could be a person's name."""
    said = re.sub(r"[^a-z0-9]", "", (segment.algorithm_name or "").casefold())
    return next((name for part, name in KNOWN_ALGORITHMS.items() if part in said), None)


def origin_text(segment: Segment) -> str:
    """Return how a segment was made, in words."""
    name = algorithm_name(segment)
    by = f" ({name})" if name is not None else ""
    words = {
        "MANUAL": "drawn by hand",
        "SEMIAUTOMATIC": f"drawn by a person with a computer's help{by}",
        "AUTOMATIC": f"drawn by software alone{by}",
        None: "how it was drawn is not stated",
    }
    return words[algorithm_type(segment)]


def warn_of_automatic(segment: Segment) -> tuple[ScoreWarning, ...]:
    """Warn where no person drew the contour."""
    if algorithm_type(segment) != "AUTOMATIC":
        return ()
    name = algorithm_name(segment)
    software = f"software ({name})" if name is not None else "software"
    message = f"The contour was drawn by {software}; no person drew it, and nothing says that one has checked it."
    return (ScoreWarning("CONTOUR_AUTOMATIC", message),)

"""Which SOP classes are taken in which transfer syntaxes."""

from __future__ import annotations

from functools import cache
from typing import Final

from pydicom import uid as uids
from pynetdicom import ALL_TRANSFER_SYNTAXES
from pynetdicom.presentation import PresentationContext, build_context

VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
STORAGE_CLASSES: Final = (
    uids.CTImageStorage,
    uids.EnhancedCTImageStorage,
    uids.LegacyConvertedEnhancedCTImageStorage,
    uids.SegmentationStorage,
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    uids.SurfaceSegmentationStorage,
    uids.RTStructureSetStorage,
    uids.BasicTextSRStorage,
    uids.EnhancedSRStorage,
    uids.ComprehensiveSRStorage,
    uids.Comprehensive3DSRStorage,
    uids.ExtensibleSRStorage,
    # what this software itself sends: a PACS that routes whole studies sends it back, and needs no error for that
    uids.SecondaryCaptureImageStorage,
    uids.MultiFrameTrueColorSecondaryCaptureImageStorage,
    uids.EncapsulatedPDFStorage,
)
"""CT, contours and reports. Of an object of another class the sender is told at negotiation that it is not taken."""
_FIRST: Final = (
    uids.ExplicitVRLittleEndian,
    uids.ImplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
)


@cache
def accepted_contexts() -> tuple[PresentationContext, ...]:
    """Return what is accepted: storage in every transfer syntax, those without loss of the sender's choice first, C-ECHO, and
    answers to requests for storage commitment.

    Where a sender proposes several transfer syntaxes for one context, it is asked for an uncompressed one.
    """
    others = [syntax for syntax in ALL_TRANSFER_SYNTAXES if syntax not in _FIRST]
    storage = [build_context(sop_class, [*_FIRST, *others]) for sop_class in STORAGE_CLASSES]
    # A peer that answers to a request for storage commitment opens its association in the role of the SCP (PS3.4 J.3.3).
    commitment = build_context(STORAGE_COMMITMENT, list(_FIRST[:2]))
    commitment.scu_role = commitment.scp_role = True
    return (build_context(VERIFICATION, list(_FIRST)), commitment, *storage)

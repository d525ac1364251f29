"""This software as device observer of the SR and as its contributing equipment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.uid import UID

from pdl1es import __version__
from pdl1es.report.uids import derived_uid


@dataclass(frozen=True, slots=True)
class SoftwareIdentity:
    """The software as a device.

    Attributes
    ----------
    name, version, manufacturer
        As DICOM's Manufacturer's Model Name, Software Versions and Manufacturer; each at most 64 characters.
    device_uid
        The same for every copy of a version; with a model it is another device (`device_uid_with`).
    """

    name: str
    version: str
    manufacturer: str
    device_uid: UID

    def device_uid_with(self, model_sha256: str | None) -> UID:
        """Return the Device UID and Device Observer UID: they change with the model too (IHE AI Results 6.5.3.1).

        Parameters
        ----------
        model_sha256
            Of the model's file; None where no model had a part, as in a refusal.

        Returns
        -------
        UID
        """
        return self.device_uid if model_sha256 is None else derived_uid("device", str(self.device_uid), model_sha256)


def _this_software() -> SoftwareIdentity:
    name, manufacturer = "PD-L1ES", "PD-L1ES open-source project"
    return SoftwareIdentity(name, __version__, manufacturer, derived_uid("device", manufacturer, name, __version__))


SOFTWARE: Final = _this_software()
IMPLEMENTATION_CLASS_UID: Final = derived_uid("implementation", "pdl1es")
IMPLEMENTATION_VERSION_NAME: Final = f"PDL1ES_{__version__}"[:16]

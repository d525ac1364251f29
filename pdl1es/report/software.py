"""Who writes the report: the device observer of the SR and its contributing equipment."""

from __future__ import annotations

from dataclasses import dataclass

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
        Device Observer UID; the same for every copy of a version unless a site gives its installation one of its own.
    """

    name: str
    version: str
    manufacturer: str
    device_uid: UID


def this_software(device_uid: str | None = None) -> SoftwareIdentity:
    """Return this software's identity, with a site's own device UID where it has one."""
    name, manufacturer = "PD-L1ES", "PD-L1ES open-source project"
    uid = UID(device_uid) if device_uid else derived_uid("device", manufacturer, name, __version__)
    return SoftwareIdentity(name, __version__, manufacturer, uid)


SOFTWARE = this_software()
IMPLEMENTATION_CLASS_UID = derived_uid("implementation", "pdl1es")
IMPLEMENTATION_VERSION_NAME = f"PDL1ES_{__version__}"[:16]

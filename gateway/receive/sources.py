"""The sources that look for objects themselves, by their settings."""

from __future__ import annotations

from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.peers.faults import PeerFaults
from gateway.receive.drop_folder_source import DroppedFiles
from gateway.receive.orthanc import OrthancChanges
from gateway.receive.polling import PollingSource
from gateway.receive.settings import FolderSource, OrthancSource


def polling_source(settings: OrthancSource | FolderSource, store: ObjectStore, in_flight: InFlight) -> PollingSource:
    """Return a source that looks again and again, not yet started. One process alone may run it.

    Parameters
    ----------
    settings
        The source.
    store
        Where objects go.
    in_flight
        Where it says which studies it brings.

    Returns
    -------
    PollingSource
        To be used as a context, or started and stopped.
    """
    look = (
        OrthancChanges(settings, store, in_flight).look
        if isinstance(settings, OrthancSource)
        else DroppedFiles(settings, store, in_flight).look
    )
    return PollingSource(settings.name, look, settings.poll_seconds, PeerFaults(store.index.engine))

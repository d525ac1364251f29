"""An Orthanc that the site has, as a source: what is stored there is fetched in the order of its changes (REST ``/changes``).

The number of the last change that was dealt with is kept in the database after the objects of its page were stored. So a page may be
fetched twice, which the store makes nothing of, and none is left out.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import requests
from sqlalchemy import BigInteger, Column, Engine, String, Table, select

from gateway.database import METADATA, read_only
from gateway.objects.errors import NotStorableError, TooLargeError
from gateway.objects.in_flight import InFlight
from gateway.objects.index import upsert_into
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.settings import WebService
from gateway.peers.web import open_session, reasons, status_error
from gateway.receive.passed_over import REMEDIES, TOO_LARGE, PassedOver
from gateway.receive.presentation import STORAGE_CLASSES
from gateway.receive.settings import OrthancSource
from pdl1es.regular_file import read_regular_file

LOG: Final = logging.getLogger("pdl1es.gateway.receive")
PAGE: Final = 100
MOST_PAGE_BYTES: Final = 2**20
"""Of a page of changes; one change takes some 200 bytes."""
_MOST_PASSWORD_BYTES: Final = 4096
_NOT_FOUND: Final = 404

ORTHANC_CHANGES: Final = Table(
    "orthanc_changes",
    METADATA,
    Column("source", String(64), primary_key=True),
    Column("url", String(1024), primary_key=True),
    Column("last", BigInteger, nullable=False),
)
"""The last change of each Orthanc that was dealt with."""


class OrthancChanges:
    """Fetches what is new in an Orthanc.

    Parameters
    ----------
    settings
        The source.
    store
        Where objects go.
    in_flight
        Where it says which studies it brings.
    """

    def __init__(self, settings: OrthancSource, store: ObjectStore, in_flight: InFlight) -> None:
        self._settings = settings
        self._store = store
        self._in_flight = in_flight
        self._engine: Engine = store.index.engine
        self._passed_over = PassedOver(self._engine, settings.name)
        self._holder = f"{settings.name}:changes"
        self._classes = {str(uid) for uid in STORAGE_CLASSES}

    def look(self) -> bool:
        """Store what one page of changes names, and tell whether there is another page.

        Raises
        ------
        gateway.peers.failures.PeerError
            Orthanc does not answer as it should.
        gateway.objects.errors.StoreUnavailableError
            The store takes nothing now.
        """
        with self._session() as session:
            last = self._known()
            if last is None:
                last = self._page(session, "last").last if self._settings.from_now else 0
                self._remember(last)
            page = self._page(session, f"since={last}&limit={PAGE}")
            if (page.last <= last) if page.is_any else not page.done:
                raise PeerError(
                    PeerFailure.BAD_ANSWER, "the changes of Orthanc do not go on"
                )  # it would be asked for ever
            for instance in page.instances:
                self._fetch(session, instance)
            if page.is_any:
                self._remember(page.last)
            elif self._page(session, "last").last < last:
                LOG.warning(
                    "source %s: Orthanc counts from the beginning again; all of it is looked at", self._settings.name
                )
                self._remember(0)
                return True
        if page.done:
            self._in_flight.release(self._holder)
        return not page.done

    def _fetch(self, session: requests.Session, identifier: str) -> None:
        address = f"/instances/{identifier}"
        kind = self._get(session, f"{address}/metadata/SopClassUid")
        if kind is not None and kind.text.strip() not in self._classes:
            return
        file = self._get(session, f"{address}/file", stream=True)
        if file is None:
            return  # removed since
        origin = ObjectOrigin(self._settings.name, "orthanc", holder=self._holder)
        try:
            with file, reasons("an object of Orthanc"):
                self._store.put(_Stream(file.iter_content(2**18)), origin)
        except TooLargeError as error:
            self._pass_over(identifier, error.reason)
        except NotStorableError as error:
            LOG.warning("source %s: an object was not stored: %s", self._settings.name, error.reason)
        except PeerError as error:
            if error.failure is not PeerFailure.LIMIT_EXCEEDED:
                raise
            self._pass_over(identifier, error.found)
        else:
            self._passed_over.forget({_item(identifier)})

    def _pass_over(self, identifier: str, found: str) -> None:
        """Leave an object out that will never fit: what comes after it goes on."""
        if self._passed_over.note(_item(identifier), TOO_LARGE):
            LOG.warning("source %s: an object is passed over: %s; %s", self._settings.name, found, REMEDIES[TOO_LARGE])

    def _session(self) -> requests.Session:
        settings = self._settings
        service = WebService(url=settings.url, tls=settings.tls, response_seconds=settings.response_seconds)
        session = open_session(service, max(self._store.limits.max_object_bytes, MOST_PAGE_BYTES))
        if settings.user is not None and settings.password_file is not None:
            session.auth = (settings.user, _password(settings))
        return session

    def _get(self, session: requests.Session, address: str, *, stream: bool = False) -> requests.Response | None:
        """Ask Orthanc; None where it does not have what is asked for."""
        with reasons("a request to Orthanc"):
            answer = session.get(
                self._settings.url.rstrip("/") + address, stream=stream, timeout=self._settings.response_seconds
            )
        if answer.status_code == _NOT_FOUND:
            answer.close()
            return None
        if answer.status_code != requests.codes.ok:
            answer.close()
            raise status_error("a request to Orthanc", answer.status_code)
        return answer

    def _page(self, session: requests.Session, query: str) -> _Page:
        """Ask for changes."""
        answer = self._get(session, f"/changes?{query}")
        try:
            return _Page.of(answer.json() if answer is not None else None)
        except (ValueError, RecursionError):
            raise PeerError(PeerFailure.BAD_ANSWER, "the answer about changes is not Orthanc's") from None

    def _known(self) -> int | None:
        table, settings = ORTHANC_CHANGES, self._settings
        query = select(table.c.last).where(table.c.source == settings.name, table.c.url == settings.url)
        with read_only(self._engine).connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def _remember(self, last: int) -> None:
        values = {"source": self._settings.name, "url": self._settings.url, "last": last}
        insert = upsert_into(self._engine, ORTHANC_CHANGES)
        with self._engine.begin() as connection:
            connection.execute(
                insert.on_conflict_do_update(index_elements=["source", "url"], set_={"last": insert.excluded.last}),
                values,
            )


@dataclass(frozen=True, slots=True)
class _Page:
    """An answer about changes: the number of its last one, whether more follow, whether it has any, and the new instances."""

    last: int
    done: bool
    is_any: bool
    instances: tuple[str, ...]

    @classmethod
    def of(cls, said: object) -> _Page:
        """Read what Orthanc said; a ValueError where it is something else."""
        match said:
            case {"Last": int(last), "Done": bool(done), "Changes": list(changes)} if 0 <= last < 2**63:
                found = [_new_instance(change) for change in changes]
                return cls(last, done, bool(changes), tuple(one for one in found if one))
        raise ValueError("it is no page of changes")


def _new_instance(change: object) -> str:
    """Return the instance that a change says is new; empty where it says something else."""
    match change:
        case {"ChangeType": "NewInstance", "ID": str(instance)} if (
            instance.replace("-", "").isalnum() and instance.isascii()
        ):
            return instance
        case {"ChangeType": str(kind)} if kind != "NewInstance":
            return ""
    raise ValueError("it is no change")


def _item(identifier: str) -> str:
    return hashlib.sha256(identifier.encode("ascii")).hexdigest()


class _Stream(io.RawIOBase):
    """Parts of a body as a stream that is read once."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, less only at the end; all where none are said."""
        found = bytearray()
        while size < 0 or len(found) < size:
            if not self._left:
                part = next(self._parts, b"")
                if not part:
                    break
                self._left = memoryview(part)
            take = len(self._left) if size < 0 else min(size - len(found), len(self._left))
            found += self._left[:take]
            self._left = self._left[take:]
        return bytes(found)


def _password(settings: OrthancSource) -> str:
    assert settings.password_file is not None
    try:
        return read_regular_file(settings.password_file, _MOST_PASSWORD_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PeerError(PeerFailure.NOT_AUTHORISED, "the file of the password cannot be read") from error

"""What the sections of ``gateway.yaml`` say of each other: names that must be there, or differ, and ports.

It reads the file as it was written, beside pydantic: so that a name without a destination is told at the same time as a port that
is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from gateway.health.settings import WebSettings
from gateway.receive.settings import DimseSource
from gateway.send.rules import NO_DICOM, SENDER


def faults_between_sections(document: Mapping[Any, Any]) -> list[str]:
    """Return what does not fit together.

    Parameters
    ----------
    document
        The file's content, which may have any other fault: what is no list, section or name is passed over.

    Returns
    -------
    list of str
        In words, with the place.
    """
    sources, send = _entries(document, "sources"), _section(document, "send")
    destinations, rules = _entries(send, "destinations"), _entries(send, "rules")
    archives = _entries(_section(document, "fetch"), "archives")
    return [
        *_twice("sources", sources),
        *_twice("destinations", destinations),
        *_twice("archives", archives),
        *_faults_of_rules(rules, sources, destinations),
        *_faults_of_archives(archives, sources),
        *_faults_of_ports(sources, document),
        *_faults_of_databases(document),
    ]


def _twice(what: str, entries: list[Mapping[Any, Any]]) -> Iterator[str]:
    for name, count in Counter(_names(entries)).items():
        if count > 1:
            yield f"{what}: {count} are called {name}; a name is given once"


def _faults_of_rules(
    rules: list[Mapping[Any, Any]], sources: list[Mapping[Any, Any]], destinations: list[Mapping[Any, Any]]
) -> Iterator[str]:
    there, known = set(_names(destinations)), set(_names(sources))
    dicom = set(_names([one for one in destinations if one.get("kind") in ("dicom", "stow")]))
    titles = {_section(one, "node").get("ae_title") for one in destinations if one.get("kind") == "dicom"}
    if SENDER in there:
        yield f"send.destinations: none can be called {SENDER}; in a rule it means where the study came from"
    for number, rule in enumerate(rules):
        to, outputs = _words(rule, "to"), _words(rule, "outputs")
        for name in to:
            if name not in there | {SENDER}:
                yield f"send.rules.{number}.to names {name}, and no destination is called so"
        for name in _words(rule, "sources"):
            if name not in known:
                yield f"send.rules.{number}.sources names {name}, and no source is called so"
        if SENDER in to:
            for title in _words(rule, "senders"):
                if title not in titles:
                    yield f"send.rules.{number}.senders names {title}, and no destination has this ae_title to send back to"
        if outputs and set(outputs) <= set(NO_DICOM) and (asked := sorted(dicom & set(to))):
            yield f"send.rules.{number}.outputs: {', '.join(asked)} takes DICOM objects alone, and this rule sends it none"


def _faults_of_archives(archives: list[Mapping[Any, Any]], sources: list[Mapping[Any, Any]]) -> Iterator[str]:
    known = set(_names(sources))
    listening = [source for source in sources if _listens(source)]
    titles = {str(source.get("ae_title", DimseSource.model_fields["ae_title"].default)) for source in listening}
    for number, archive in enumerate(archives):
        if isinstance(title := archive.get("move_to"), str) and title not in titles:
            yield f"fetch.archives.{number}.move_to is {title}, and no source of kind dimse has this ae_title"
        for name in _words(archive, "sources"):
            if name not in known:
                yield f"fetch.archives.{number}.sources names {name}, and no source is called so"


def _faults_of_ports(sources: list[Mapping[Any, Any]], document: Mapping[Any, Any]) -> Iterator[str]:
    ports = [source.get("port", DimseSource.model_fields["port"].default) for source in sources if _listens(source)]
    ports.append(_section(document, "web").get("port", WebSettings.model_fields["port"].default))
    for port, count in Counter(port for port in ports if isinstance(port, int) and port).items():
        if count > 1:
            yield f"port {port} is given to {count} of sources and web; each needs one of its own"


def _faults_of_databases(document: Mapping[Any, Any]) -> Iterator[str]:
    urls = {}
    for key in ("database", "workflow_database"):
        if not isinstance(given := document.get(key), str):
            continue
        try:
            urls[key] = make_url(given)
        except ArgumentError:
            yield f"{key} is no URL of a database, as postgresql+psycopg://USER@HOST/NAME"
            continue
        if urls[key].drivername not in ("postgresql", "postgresql+psycopg", "sqlite"):
            yield f"{key} begins with {urls[key].drivername}://; postgresql+psycopg:// and sqlite:// are possible"
    if len(urls) == 2 and urls["database"] == urls["workflow_database"] and urls["database"].drivername == "sqlite":
        yield "database and workflow_database are one SQLite file; give each its own"


def _listens(source: Mapping[Any, Any]) -> bool:
    return source.get("kind") == "dimse"


def _section(of: Mapping[Any, Any], key: str) -> Mapping[Any, Any]:
    found = of.get(key)
    return found if isinstance(found, Mapping) else {}


def _entries(of: Mapping[Any, Any], key: str) -> list[Mapping[Any, Any]]:
    found = of.get(key)
    # an entry that is none keeps its place, so that the others have their number
    return [one if isinstance(one, Mapping) else {} for one in found] if isinstance(found, list | tuple) else []


def _names(entries: list[Mapping[Any, Any]]) -> list[str]:
    return [one["name"] for one in entries if isinstance(one.get("name"), str)]


def _words(of: Mapping[Any, Any], key: str) -> list[str]:
    found = of.get(key)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list | tuple) else []

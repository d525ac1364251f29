"""Metrics in Prometheus' format: read from the database when they are asked for, so that a restart loses none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import utc_now
from gateway.database import create_tables, open_database, read_only
from gateway.health.heartbeat import SILENT_SECONDS, read_processes
from gateway.health.readiness import Expected, Readiness
from gateway.objects.tables import CONFLICTS, OBJECTS, STUDIES
from gateway.send.delivery_tables import DELIVERIES
from gateway.workflow.runs import RUN_STATES
from gateway.workflow.tables import RESULTS, RUNS, STUDY_DEFECTS

_PREFIX = "pdl1es_gateway"


class GatewayCollector(Collector):
    """Gives the metrics; no label names a study.

    Parameters
    ----------
    readiness
        Says what stands in the way.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._engine = readiness.engine
        self._expected = readiness.expected

    def collect(self) -> Iterator[Metric]:
        """Give every metric; where the database does not answer, those alone that need none."""
        yield from self._of_machine()
        try:
            with read_only(self._engine).connect() as connection:
                found = [
                    *_of_objects(connection),
                    *_of_runs(connection),
                    *_of_deliveries(connection),
                ]
            found += self._of_processes()
        except SQLAlchemyError:
            return
        yield from found

    def _of_machine(self) -> Iterator[Metric]:
        found = self._readiness.look()
        ready = GaugeMetricFamily(f"{_PREFIX}_ready", "1 where studies are taken and results go out")
        ready.add_metric([], float(not found))
        since = GaugeMetricFamily(
            f"{_PREFIX}_obstacle_since_timestamp_seconds",
            "Since when something stands in the way of being ready, Unix time, by code and what it concerns",
            labels=["code", "of"],
        )
        down = GaugeMetricFamily(
            f"{_PREFIX}_destination_down",
            "1 where a destination did not work at the last contact, by destination",
            labels=["destination"],
        )
        for one in {obstacle.key: obstacle for obstacle in found}.values():  # a sample may be there once
            since.add_metric([one.code, one.of], one.since.timestamp() if one.since is not None else 0.0)
        failing = {one.of for one in found}
        for destination in self._expected.destinations:
            down.add_metric([destination], float(f"destination {destination}" in failing))
        yield from (ready, since, down)
        try:
            status = os.statvfs(self._expected.folder)
        except OSError:
            return
        free = float(status.f_bavail * status.f_frsize)
        yield GaugeMetricFamily(f"{_PREFIX}_disk_free_bytes", "Room on the disk of the gateway's folder", value=free)

    def _of_processes(self) -> Iterator[Metric]:
        now = utc_now()
        up = GaugeMetricFamily(f"{_PREFIX}_process_up", "1 where a process lives, by process", labels=["process"])
        restarts = CounterMetricFamily(
            f"{_PREFIX}_worker_restarts",
            "Workers that were replaced since the executor started, by cause",
            labels=["cause"],
        )
        workers = GaugeMetricFamily(f"{_PREFIX}_workers", "Workers by what they do", labels=["state"])
        associations = GaugeMetricFamily(f"{_PREFIX}_associations", "Open associations by receiver", labels=["process"])
        outcomes = CounterMetricFamily(
            f"{_PREFIX}_connections",
            "Connections since a receiver started, by receiver and outcome (`accepted`, `rejected`, `refused_connections`, "
            "`failed_handshakes`)",
            labels=["process", "outcome"],
        )
        notes = {note.name: note for note in read_processes(self._engine)}
        for name in sorted({*notes, *self._expected.processes}):
            note = notes.get(name)
            lives = note is not None and abs((now - note.beat_at).total_seconds()) <= SILENT_SECONDS
            up.add_metric([name], float(lives))
            for cause, count in (note.detail.get("worker_restarts", {}) if note is not None else {}).items():
                restarts.add_metric([cause], float(count))
            for state, count in (note.detail.get("workers", {}) if note is not None else {}).items():
                workers.add_metric([state], float(count))
            if note is not None and "associations" in note.detail:
                associations.add_metric([name], float(note.detail["associations"]))
            for outcome, count in (note.detail.get("association_outcomes", {}) if note is not None else {}).items():
                outcomes.add_metric([name, outcome], float(count))
        yield from (up, restarts, workers, associations, outcomes)


def _of_objects(connection: Connection) -> Iterator[Metric]:
    counts = {
        "objects": ("DICOM objects on disk", OBJECTS),
        "conflicts": ("Objects kept aside because their UID had other bytes", CONFLICTS),
        "studies": ("Studies on disk", STUDIES),
    }
    defects = connection.execute(select(func.count(func.distinct(STUDY_DEFECTS.c.study_instance_uid)))).scalar_one()
    yield GaugeMetricFamily(
        f"{_PREFIX}_study_defects", "Studies that cannot be judged because of a defect", value=float(defects)
    )
    for name, (text, table) in counts.items():
        count = connection.execute(select(func.count()).select_from(table)).scalar_one()
        yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=float(count))
    size = connection.execute(select(func.coalesce(func.sum(OBJECTS.c.size), 0))).scalar_one()
    yield GaugeMetricFamily(f"{_PREFIX}_objects_bytes", "Size of the objects on disk", value=float(size))


def _of_runs(connection: Connection) -> Iterator[Metric]:
    runs = GaugeMetricFamily(f"{_PREFIX}_runs", "Runs by state", labels=["state"])
    counts = {row[0]: row[1] for row in connection.execute(select(RUNS.c.state, func.count()).group_by(RUNS.c.state))}
    for state in RUN_STATES:
        runs.add_metric([state], float(counts.get(state, 0)))
    yield runs
    oldest = connection.execute(
        select(func.min(RUNS.c.created_at)).where(RUNS.c.state.in_(("queued", "running", "again")))
    ).scalar_one()
    age = 0.0 if oldest is None else max(0.0, (utc_now() - oldest).total_seconds())
    yield GaugeMetricFamily(f"{_PREFIX}_oldest_run_seconds", "Age of the oldest run that has not ended", value=age)
    took = connection.execute(select(func.count(RUNS.c.seconds), func.coalesce(func.sum(RUNS.c.seconds), 0.0))).one()
    yield SummaryMetricFamily(
        f"{_PREFIX}_run_seconds", "Time that workers took", count_value=took[0], sum_value=float(took[1])
    )
    results = CounterMetricFamily(
        f"{_PREFIX}_results", "Stored results, by status and refusal code", labels=["status", "code"]
    )
    query = select(RESULTS.c.refusal, func.count()).group_by(RESULTS.c.refusal).order_by(RESULTS.c.refusal)
    for refusal, count in connection.execute(query):
        results.add_metric(["refused" if refusal else "scored", refusal], float(count))
    yield results


def _of_deliveries(connection: Connection) -> Iterator[Metric]:
    deliveries = GaugeMetricFamily(
        f"{_PREFIX}_deliveries", "Deliveries by destination and state", labels=["destination", "state"]
    )
    query = select(DELIVERIES.c.destination, DELIVERIES.c.state, func.count())
    for destination, state, count in connection.execute(
        query.group_by(DELIVERIES.c.destination, DELIVERIES.c.state).order_by(DELIVERIES.c.destination)
    ):
        deliveries.add_metric([destination, state], float(count))
    yield deliveries


def metrics_table() -> str:
    """Return the table of all metrics for `docs/gateway.md`: what a gateway that has done nothing yet gives."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{folder}/gateway.sqlite")
        create_tables(engine)
        families = list(GatewayCollector(Readiness(engine, Expected((), Path(folder), 0, ()))).collect())
        engine.dispose()
    rows = ["| metric | type | meaning |", "|---|---|---|"]
    for family in sorted(families, key=lambda one: one.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join(rows)


def metrics_text(readiness: Readiness) -> bytes:
    """Return all metrics in Prometheus' text format.

    Parameters
    ----------
    readiness
        Says what stands in the way.

    Returns
    -------
    bytes
    """
    registry = CollectorRegistry()
    registry.register(GatewayCollector(readiness))
    return generate_latest(registry)

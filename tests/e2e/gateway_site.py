"""A hospital in small, on loopback: an Orthanc, the gateway that reports to it, senders, and an audit of what came of it all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pydicom
import yaml
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

from gateway.objects.index import ObjectIndex
from gateway.records import StudyKey
from gateway.send.delivery import DeliveryBook
from gateway.workflow.results import ResultStore
from gateway.workflow.runs import ACTIVE
from tests.e2e.faulty_pacs import FaultyWire
from tests.e2e.pacs import AE_TITLE, Pacs, running_pacs
from tests.gateway.processes.served import ServedGateway
from tests.ports import LOOPBACK, free_port
from tests.waiting import until

GATEWAY_TITLE = "PDL1ES"
INPUT_MODALITIES = ("CT", "SEG", "RTSTRUCT")
OUTPUTS = ["sr", "pdf", "cam", "json"]
PATIENCE_S = 420.0
"""Longest wait for something that other processes do; they need seconds on a machine that is free."""


def dataset_digest(file: bytes) -> str:
    """Return SHA-256 of a DICOM file without its File Meta Information, which every node writes anew (PS3.10 7.1)."""
    assert file[128:132] == b"DICM"
    length = int.from_bytes(file[140:144], "little")  # of (0002,0000), which is first
    return hashlib.sha256(file[144 + length :]).hexdigest()


class GatewaySite:
    """An Orthanc and a gateway that know each other.

    Parameters
    ----------
    folder
        An empty one.
    repository
        The checkout's root.
    orthanc
        The program.
    script
        In Lua, for the Orthanc: what it routes.
    wire
        Whether results go to the Orthanc through a wire that can misbehave.
    environment
        Further variables of the gateway's processes.
    """

    def __init__(
        self,
        folder: Path,
        repository: Path,
        orthanc: str,
        script: Path | None = None,
        *,
        wire: bool = False,
        environment: Mapping[str, str] | None = None,
        **sections: Any,
    ) -> None:
        self._folder, self._orthanc, self._script = folder, orthanc, script
        self._port = free_port()
        self._running = ExitStack()
        (folder / "pacs").mkdir()
        self.pacs = Pacs(free_port(), free_port())
        self.start_pacs()
        self.wire = FaultyWire(self.pacs.dicom_port).__enter__() if wire else None
        to = self.pacs.dicom_port if self.wire is None else self.wire.port
        application = yaml.safe_load((repository / "app.yaml").read_text(encoding="utf-8"))
        (folder / "app.yaml").write_text(yaml.safe_dump(application | {"outputs": OUTPUTS}), encoding="utf-8")
        destination = {
            "kind": "dicom",
            "name": "pacs",
            "node": {"ae_title": AE_TITLE, "host": LOOPBACK, "port": to, "connect_seconds": 5},
            "commitment": {"same_association_seconds": 0.5, "answer_seconds": 20},
            "query": True,
            "retry": {"first_seconds": 0.5, "longest_seconds": 3},
            "breaker": {"pause_seconds": 2, "probe_seconds": 5},
        }
        chosen = {
            "application": {"config": str(folder / "app.yaml")},
            "sources": [{"kind": "dimse", "name": "pacs", "port": self._port}],
            "send": {"destinations": [destination], "rules": [{"to": ["pacs"], "outputs": ["sr", "pdf", "cam"]}]},
            "arrival": {"quiet_seconds": 30},
        }
        self.gateway = ServedGateway(folder, repository, **(chosen | sections))
        self.gateway.port = self._port
        self.gateway.environment |= environment or {}
        self.acknowledged: dict[str, str] = {}
        """SHA-256 of the data set of each object of which success was said, by SOP Instance UID."""

    def start_pacs(self) -> None:
        """Start the Orthanc; it has what it had."""
        peer = {"AET": GATEWAY_TITLE, "Host": LOOPBACK, "Port": self._port, "AllowStorageCommitment": True}
        known = {"pdl1es": peer}
        self._running.enter_context(
            running_pacs(self._orthanc, self._folder / "pacs", known, self._script, at=self.pacs)
        )

    def stop_pacs(self) -> None:
        """End the Orthanc."""
        self._running.close()

    def let_pacs_answer_to(self, port: int) -> None:
        """Tell the PACS at which port the gateway is, until it is started again: to it go answers about storage commitment."""
        peer = {"AET": GATEWAY_TITLE, "Host": LOOPBACK, "Port": port, "AllowStorageCommitment": True}
        address = f"http://{LOOPBACK}:{self.pacs.http_port}/modalities/pdl1es"
        with urlopen(Request(address, data=json.dumps(peer).encode(), method="PUT"), timeout=30):
            pass

    def close(self) -> None:
        """End everything."""
        self.gateway.close()
        if self.wire is not None:
            self.wire.__exit__(None, None, None)
        self.stop_pacs()

    # Senders

    def send(self, files: Iterable[Path], seconds: float = PATIENCE_S) -> None:
        """Send files as a PACS does: what was not acknowledged is sent again on another association, until all is."""
        missing = list(files)
        deadline = time.monotonic() + seconds
        while missing:
            missing = self._send_once(missing)
            if missing:
                assert time.monotonic() < deadline, f"{len(missing)} objects were not taken in time"
                time.sleep(0.3)

    def offer(self, file: Path) -> int | None:
        """Send one file once, and return the status; None where there was no association or no answer."""
        association = _association([file], self._port)
        if not association.is_established:
            return None
        try:
            status = association.send_c_store(str(file))
        finally:
            association.abort()
        return int(status.Status) if "Status" in status else None

    def storescu(self, storescu: str, files: Iterable[Path]) -> None:
        """Send files by dcmtk's storescu, straight to the gateway."""
        paths = list(files)
        done = subprocess.run(
            [storescu, "-v", "-R", "-aec", GATEWAY_TITLE, LOOPBACK, str(self._port), *map(str, paths)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TCP_NODELAY": "1"},
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]
        assert done.stdout.count("Received Store Response (Success)") == len(paths)
        for path in paths:
            self._note(path)

    def _send_once(self, files: list[Path]) -> list[Path]:
        """Send over one association, and return what was not acknowledged."""
        association = _association(files, self._port)
        if not association.is_established:
            return files
        left = list(files)
        for file in files:
            try:
                status = association.send_c_store(str(file))
            except (RuntimeError, ValueError):  # the association ended meanwhile
                break
            if "Status" not in status or status.Status != 0:
                break
            self._note(file)
            left.remove(file)
        if association.is_established:
            association.release()
        return left

    def _note(self, file: Path) -> None:
        uid = str(pydicom.dcmread(file, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID)
        self.acknowledged[uid] = dataset_digest(file.read_bytes())

    # Processes

    def processes(self, name: str) -> list[int]:
        """Return the ids of the gateway's living processes of a kind: ``receiver``, ``executor``, ``web`` or ``worker``."""
        if not self.gateway.runs():
            return []
        assert self.gateway.process is not None
        children = _children(self.gateway.process.pid)
        if name != "worker":
            return [pid for pid, command in children.items() if f"gateway.processes.{name}" in command]
        executors = [pid for pid, command in children.items() if "gateway.processes.executor" in command]
        return [
            pid for one in executors for pid, command in _children(one).items() if "gateway.worker.child" in command
        ]

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a process of a kind, when there is one."""
        until(lambda: bool(self.processes(name)), PATIENCE_S)
        os.kill(self.processes(name)[0], number)

    def restart(self) -> None:
        """Kill what starts the others, which end with it, and start all anew."""
        if self.gateway.runs():
            self.gateway.end(signal.SIGKILL)
        self.gateway.start()

    # What came of it

    @property
    def book(self) -> DeliveryBook:
        """The deliveries."""
        return DeliveryBook(self.gateway.engine)

    def reports(self, study: str) -> list[str]:
        """Return the SOP Instance UIDs of a study's structured reports at the PACS."""
        return [uid for uid, modality in self._at_pacs(study) if modality == "SR"]

    def dataset(self, sop_instance_uid: str) -> pydicom.Dataset:
        """Return an object that the PACS has."""
        return pydicom.dcmread(io.BytesIO(self.pacs.file(sop_instance_uid)))

    def current_reports(self, study: str) -> list[str]:
        """Return the structured reports of a study at the PACS that no other one names as its predecessor."""
        reports = self.reports(study)
        named = {name for report in reports for name in predecessors(self.dataset(report))}
        return [report for report in reports if report not in named]

    def settle(self, studies: Iterable[str], seconds: float = PATIENCE_S) -> None:
        """Wait until each study has a run, and nothing is being run or sent."""
        keys = [StudyKey(study) for study in studies]

        def is_settled() -> bool:
            ledger = self.gateway.ledger
            return (
                all(ledger.of_study(key) for key in keys)
                and not ledger.in_states(*ACTIVE)
                and not self.book.in_state("waiting", "sent")
            )

        deadline = time.monotonic() + seconds
        while not is_settled():
            assert time.monotonic() < deadline, (
                f"stuck: {self.gateway.ledger.counts()}, {self.book.in_state('waiting', 'sent')}"
            )
            time.sleep(0.2)

    def audit(self, studies: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """Hold what is there against what was acknowledged.

        Parameters
        ----------
        studies
            Study Instance UIDs of those that were sent whole.

        Returns
        -------
        dict of str to str
            How each study ended: ``report`` where it has one, how many where it has several; or the code of the reason why there is
            none.
        list of str
            What is wrong; nothing where all is well.
        """
        wrong = []
        index = ObjectIndex(self.gateway.engine)
        there = {stored.sop_instance_uid: stored for stored in index.every_object()}
        objects = self.gateway.folder / "gateway" / "objects"
        for uid, digest in self.acknowledged.items():
            if uid not in there:
                wrong.append(f"acknowledged and not there: {uid}")
            elif dataset_digest((objects / there[uid].path).read_bytes()) != digest:
                wrong.append(f"other bytes than were sent: {uid}")
        ends = {}
        for study in studies:
            ends[study], found = self._end_of(study)
            wrong += [f"{study}: {one}" for one in found]
        left = [path.name for path in (self.gateway.folder / "gateway" / "work").iterdir()]
        wrong += [f"left in the folder of work: {name}" for name in left]
        return ends, wrong

    def _end_of(self, study: str) -> tuple[str, list[str]]:
        wrong = []
        notes = self.gateway.ledger.of_study(StudyKey(study))
        ended = [note for note in notes if note.state != "stale"]
        if [note for note in notes if note.state in ACTIVE]:
            wrong.append("it is stuck")
        results = [note.result for note in ResultStore(self.gateway.engine, self._results).of_study(StudyKey(study))]
        at_pacs = dict(self._at_pacs(study))
        outputs = Counter(at_pacs.values())
        kept = {file.sop_instance_uid: result.folder / file.name for result in results for file in result.files}
        for uid in at_pacs:
            if uid not in kept:
                wrong.append(f"the PACS has what is no stored result: {uid}")
            elif dataset_digest(self.pacs.file(uid)) != dataset_digest(kept[uid].read_bytes()):
                wrong.append(f"the PACS has other bytes than were stored: {uid}")
        scored = [result for result in results if not result.refusal]
        if len(results) != len({result.digest for result in results}):
            wrong.append("one input has two results")
        if scored:
            if outputs["SR"] != len(scored) or len(self.current_reports(study)) != 1:
                wrong.append(f"{outputs['SR']} reports of {len(scored)} results at the PACS")
            if len(at_pacs) != sum(file.kind != "json" for result in scored for file in result.files):
                wrong.append(f"the set at the PACS is not whole: {dict(outputs)}")
            return "report" if len(scored) == 1 else f"{len(scored)} reports, the last one current", wrong
        if at_pacs:
            wrong.append("reports of a study that has none")
        reasons = [result.refusal for result in results] + [
            note.reason.partition(":")[0] for note in ended if note.reason
        ]
        if len(reasons) != 1:
            wrong.append(f"reasons: {reasons}")
        return ", ".join(reasons), wrong

    @property
    def _results(self) -> Path:
        return self.gateway.folder / "gateway" / "results"

    def _at_pacs(self, study: str) -> Iterator[tuple[str, str]]:
        """Return UID and modality of what the PACS has of a study beside its CT and contours."""
        found = json.loads(self.pacs.rest("/dicom-web/studies?StudyInstanceUID=" + study))
        if not found:
            return
        for instance in self.pacs.get(f"/studies/{study}/instances?includefield=00080060"):
            modality = instance["00080060"]["Value"][0]
            if modality not in INPUT_MODALITIES:
                yield instance["00080018"]["Value"][0], modality


@contextmanager
def running_site(
    folder: Path, repository: Path, orthanc: str, script: Path | None = None, **sections: Any
) -> Iterator[GatewaySite]:
    """Start both, and end them."""
    site = GatewaySite(folder, repository, orthanc, script, **sections)
    try:
        site.gateway.start()
        yield site
    finally:
        site.close()


def study_uid(files: Iterable[Path]) -> str:
    """Return the Study Instance UID of the first file."""
    return str(pydicom.dcmread(next(iter(files)), stop_before_pixels=True).StudyInstanceUID)


def predecessors(report: pydicom.Dataset) -> list[str]:
    """Return the SOP Instance UIDs that a report names in its Predecessor Documents Sequence."""
    return [
        str(instance.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


def _association(files: list[Path], port: int) -> Any:
    """Open an association that proposes what the files need; they are sent as their bytes are."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    entity = AE("SENDER")
    entity.acse_timeout, entity.dimse_timeout, entity.network_timeout, entity.connection_timeout = 20, 60, 60, 5
    kinds = set()
    for file in files:
        meta = pydicom.filereader.read_file_meta_info(file)
        kinds.add((UID(str(meta.MediaStorageSOPClassUID)), UID(str(meta.TransferSyntaxUID))))
    entity.requested_contexts = [build_context(name, syntax) for name, syntax in sorted(kinds)]
    return entity.associate(LOOPBACK, port, ae_title=GATEWAY_TITLE)


def _children(parent: int) -> dict[int, str]:
    """Return a process's children with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == parent and fields[0] != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):  # it has ended
            continue
    return found

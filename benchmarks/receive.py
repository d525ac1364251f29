"""Objects received per second: the gateway, Orthanc, dcmtk's storescp and a plain pynetdicom handler, in turns, on one disk.

Run from the repository with the gateway's packages, on a machine that has dcmtk and Orthanc::

    python -m benchmarks.receive [--folder DIR] [--objects 320] [--kib 512] [--associations 1 4 16] [--rounds 3] [--output FILE]

Every sender is dcmtk's storescu with ``TCP_NODELAY=1`` (without it Debian's waits 40 ms an object for an acknowledgement), one process an
association, all started at once. The clock runs from their start to the end of the last. Each receiver stores into a fresh folder of the same
disk; the rounds go through all receivers in turn, so that a disturbance hits each alike. What each promises differs: the gateway answers
success after fsync of file, folder and index; Orthanc 1.10 syncs the file; the plain handler does fsync, rename, fsync of the folder;
storescp syncs nothing. On a machine with other work, put ``chrt -r 5`` before the command: its processes then wait for none of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ORTHANC: Final = "/usr/sbin/Orthanc"
TITLE: Final = "RECEIVER"
LOOPBACK: Final = "127.0.0.1"
Receiver = Callable[[Path, int], "subprocess.Popen[bytes]"]


def write_objects(folder: Path, count: int, kib: int) -> None:
    """Write CT images with random pixels: one study and one series a folder.

    Parameters
    ----------
    folder
        Made.
    count
        How many.
    kib
        Size of the pixels of each, KiB.
    """
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 4096, kib * 512, dtype=np.uint16)
    study, series = generate_uid(), generate_uid()
    for number in range(count):
        made = Dataset()
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
        made.StudyInstanceUID, made.SeriesInstanceUID = study, series
        made.PatientID, made.PatientName, made.Modality = "BENCH", "Bench^Mark", "CT"
        made.InstanceNumber = number + 1
        made.Rows, made.Columns = kib, 512
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.PixelData = np.roll(pixels, number).tobytes()
        made["PixelData"].VR = "OW"
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


GATEWAY_PROGRAM: Final = """
import os, signal, sys
from pathlib import Path
from gateway.database import create_tables, open_database
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.processes.signals import ended_by_signal
from gateway.receive.listener import DimseListener
from gateway.receive.settings import DimseSource
folder, port, title, processes = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
create_tables(engine)
engine.dispose()
children = []
while len(children) < processes - 1:
    child = os.fork()
    if not child:
        children = []
        break
    children.append(child)
engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
ended = ended_by_signal()
with ObjectStore(folder / "objects", engine) as store:
    source = DimseSource(name="bench", ae_title=title, port=port)
    with DimseListener(source, store, InFlight(engine), shared=processes > 1):
        ended.wait()
for child in children:
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
"""

PLAIN_PROGRAM: Final = """
import os, sys
from pathlib import Path
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt
folder, port, title = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def store(event):
    name = str(event.request.AffectedSOPInstanceUID)
    with open(folder / (name + ".part"), "wb") as file:
        file.write(event.encoded_dataset())
        file.flush()
        os.fsync(file.fileno())
    os.rename(folder / (name + ".part"), folder / (name + ".dcm"))
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return 0
entity = AE(ae_title=title)
entity.maximum_associations = 64
entity.maximum_pdu_size = 131072
entity.add_supported_context("1.2.840.10008.5.1.4.1.1.2", ALL_TRANSFER_SYNTAXES)
entity.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, store)])
"""


def _python(program: str, processes: int = 1) -> Receiver:
    def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program, str(folder), str(port), TITLE, str(processes)])

    return start


def _orthanc(folder: Path, port: int) -> subprocess.Popen[bytes]:
    settings: dict[str, Any] = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomServerEnabled": True,
        "DicomAet": TITLE,
        "DicomPort": port,
        "HttpServerEnabled": False,
        "DicomAlwaysAllowStore": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    return subprocess.Popen(
        [ORTHANC, str(folder / "orthanc.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TCP_NODELAY": "1"},
    )


def _storescp(folder: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["storescp", "--fork", "+xa", "--max-pdu", "131072", "-aet", TITLE, "-od", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TCP_NODELAY": "1"},
    )


RECEIVERS: Final[dict[str, Receiver]] = {
    "gateway": _python(GATEWAY_PROGRAM),
    "gateway, 2 receivers": _python(GATEWAY_PROGRAM, 2),
    "Orthanc": _orthanc,
    "pynetdicom, plain handler with fsync": _python(PLAIN_PROGRAM),
    "storescp, no fsync": _storescp,
}


@contextmanager
def running(receiver: Receiver, disk: Path) -> Iterator[int]:
    """Run a receiver in a fresh folder, and end it.

    Parameters
    ----------
    receiver
        Starts it.
    disk
        Where its folder is made.

    Yields
    ------
    int
        The port that it listens on.

    Raises
    ------
    RuntimeError
        It does not listen within 30 s.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="receiver-", dir=disk))
    process = receiver(folder, port)
    try:
        until = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((LOOPBACK, port)) == 0:
                    break
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError("the receiver does not listen")
            time.sleep(0.05)
        time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def send_all(folders: list[Path], port: int) -> float:
    """Send each folder over an association of its own, all at once.

    Parameters
    ----------
    folders
        One an association.
    port
        Of the receiver.

    Returns
    -------
    float
        Until the last one ended, s.

    Raises
    ------
    RuntimeError
        A sender failed.
    """
    environment = {**os.environ, "TCP_NODELAY": "1"}
    started = time.perf_counter()
    senders = [
        subprocess.Popen(
            ["storescu", "--max-send-pdu", "131072", "-aec", TITLE, "+sd", LOOPBACK, str(port), str(folder)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for folder in folders
    ]
    failed = [sender.communicate()[1] for sender in senders if sender.wait() != 0]
    if failed:
        raise RuntimeError(failed[0].decode(errors="replace")[:500])
    return time.perf_counter() - started


def measured(folder: Path, arguments: argparse.Namespace) -> dict[tuple[str, int], list[float]]:
    """Measure every receiver at every number of associations.

    Parameters
    ----------
    folder
        On the disk that is measured.
    arguments
        Of the command.

    Returns
    -------
    dict
        By receiver and associations: objects per second, one for each round.
    """
    sent: dict[int, list[Path]] = {}
    for associations in arguments.associations:
        sent[associations] = [folder / f"{associations}" / f"{number:02d}" for number in range(associations)]
        for one in sent[associations]:
            write_objects(one, arguments.objects // associations, arguments.kib)
    os.sync()
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(arguments.rounds):
        for associations, folders in sent.items():
            for name, receiver in RECEIVERS.items():
                if arguments.only and name not in arguments.only:
                    continue
                # Nobody waits for what the one before left in memory: storescp syncs nothing.
                os.sync()
                with running(receiver, folder) as port:
                    seconds = send_all(folders, port)
                count = arguments.objects // associations * associations
                found.setdefault((name, associations), []).append(count / seconds)
                print(f"{name:40} {associations:3} associations {count / seconds:8.0f} objects/s", file=sys.stderr)
    return found


def table(found: dict[tuple[str, int], list[float]], kib: int) -> str:
    """Return the medians as Markdown.

    Parameters
    ----------
    found
        From `measured`.
    kib
        Size of an object, KiB.

    Returns
    -------
    str
    """
    columns = sorted({associations for _, associations in found})
    lines = [
        "| receiver | " + " | ".join(f"{n} associations" if n > 1 else "1 association" for n in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name in dict.fromkeys(name for name, _ in found):
        cells = []
        for n in columns:
            values = sorted(found[name, n])
            middle = statistics.median(values)
            cells.append(
                f"{middle:.0f} objects/s ({values[0]:.0f} to {values[-1]:.0f}), {middle * kib / 1024:.0f} MiB/s"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if {name for name, _ in found} >= {"gateway", "Orthanc"}:
        ratios = [
            statistics.median(
                ours / theirs for ours, theirs in zip(found["gateway", n], found["Orthanc", n], strict=True)
            )
            for n in columns
        ]
        lines += [
            "",
            "Gateway to Orthanc, median of the rounds' ratios: " + ", ".join(f"{ratio:.2f}" for ratio in ratios),
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path("out/receive"))
    parser.add_argument("--objects", type=int, default=320)
    parser.add_argument("--kib", type=int, default=512)
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder.resolve()))
    try:
        printed = table(measured(folder, arguments), arguments.kib)
    finally:
        shutil.rmtree(folder)
    print(printed)
    print("load (1, 5, 15 minutes): " + ", ".join(f"{load:.1f}" for load in os.getloadavg()), file=sys.stderr)
    if arguments.output:
        arguments.output.write_text(printed, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

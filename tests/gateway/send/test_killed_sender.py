"""A sender that is killed again and again, by a peer that fails now and then: all arrives, and nothing in two versions."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import Engine

from gateway.send.delivery import DeliveryBook
from tests.gateway.peers.stand_in import stand_in
from tests.gateway.send.dicom_results import SOP_CLASSES, stored_result
from tests.waiting import PATIENCE_S

RESULTS, KILLS = 20, 8
LONGEST_S = 600.0
"""For the last sender, which is not killed; it needs 20 s on a machine that is free, and minutes beside a load of 40."""


def test_a_sender_killed_at_random_moments_delivers_everything(
    engine: Engine, tmp_path: Path, repository: Path
) -> None:
    """Seeded moments; the peer is full for one object in ten, and refuses one until the kills are over: so there is always work left."""
    draw = random.Random(7)
    results = [
        stored_result(tmp_path / "again" / str(number), "cam", "sr", seed=str(number)) for number in range(RESULTS)
    ]
    refused = {results[-1].files[0].sop_instance_uid}
    url = str(engine.url)
    with stand_in([SOP_CLASSES["sr"], SOP_CLASSES["cam"]], commitment=True, query=True) as peer:
        peer.slow_seconds = 0.02
        peer.store_status = lambda uid: 0xC123 if uid in refused else draw.choice([0x0000] * 9 + [0xA700])
        command = [
            sys.executable,
            "-m",
            "tests.gateway.send.endless_sender",
            url,
            str(peer.port),
            str(tmp_path / "results"),
        ]
        killed = 0
        for number in range(KILLS + 1):
            process = subprocess.Popen([*command, str(RESULTS)], cwd=repository)
            try:
                if number == KILLS:
                    refused.clear()
                    assert process.wait(timeout=LONGEST_S) == 0
                else:
                    target = len(peer.order) + draw.randint(0, 4)
                    until = time.monotonic() + PATIENCE_S
                    # Where little is left, less may come than was drawn.
                    while len(peer.order) < target and process.poll() is None and len(peer.stored) < 2 * RESULTS - 2:
                        assert time.monotonic() < until
                        time.sleep(0.005)
                    time.sleep(draw.uniform(0.0, 0.05))
                    killed += process.poll() is None
            finally:
                process.kill()
                process.wait(timeout=20)
        assert killed == KILLS, "it was killed at work"
        deliveries = DeliveryBook(engine).in_state("waiting", "sent", "committed", "dead")
        assert [one.delivery.state for one in deliveries] == ["committed"] * RESULTS
        # The answer to a request of a sender that was killed reaches nobody; the peer is queried then.
        assert {one.confirmed_by for one in deliveries} <= {"commitment", "query"}
        assert peer.stored.keys() == {file.sop_instance_uid for one in results for file in one.files}
        assert peer.versions == dict.fromkeys(peer.stored, 1), "one UID, one content, however often it was sent"

"""Mutated objects end as not stored, kept aside or judged; the study that they lie in is intact afterwards."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.arrival.object_mutations import mutate_objects


def test_mutated_objects_are_refused_or_judged(tmp_path: Path) -> None:
    found = mutate_objects(60, 0, tmp_path)
    assert found.faults == []
    assert sum(found.ends.values()) == 60
    assert sum(count for end, count in found.ends.items() if end.startswith("judged")) > 5
    assert found.grown_kib < 64 * 1024

"""The sources' settings: only this machine may send unless it is said otherwise, and no password goes without TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.receive.access import CALLED_UNKNOWN, CALLING_UNKNOWN, AccessRules
from gateway.receive.settings import AllowedSender, DimseSource, OrthancSource


def test_by_default_every_title_may_send_from_this_machine_alone() -> None:
    source = DimseSource(name="pacs")
    assert source.bind == "127.0.0.1"
    rules = AccessRules(source.ae_title, source.senders)
    assert rules.judge("127.0.0.1", "PDL1ES", "ANYBODY") is None
    assert rules.judge("::1", "PDL1ES", "ANYBODY") is None
    assert rules.judge("10.0.0.1", "PDL1ES", "ANYBODY") is CALLING_UNKNOWN
    assert not rules.allows_address("10.0.0.1")


def test_a_title_may_send_from_its_own_addresses_alone() -> None:
    rules = AccessRules(
        "PDL1ES",
        [
            AllowedSender(ae_title="PACS", addresses=("10.1.0.0/16", "fd00::/8")),
            AllowedSender(ae_title="CT1", addresses=("10.2.0.7",)),
        ],
    )
    assert rules.judge("10.1.2.3", "PDL1ES", "PACS") is None
    assert rules.judge("::ffff:10.1.2.3", "PDL1ES", "PACS") is None
    assert rules.judge("fd00::1%eth0", "PDL1ES", "PACS") is None
    assert rules.judge("10.2.0.7", "PDL1ES", "CT1") is None
    assert rules.judge("10.2.0.7", "PDL1ES", "PACS") is CALLING_UNKNOWN
    assert rules.judge("10.1.2.3", "OTHER", "PACS") is CALLED_UNKNOWN


@pytest.mark.parametrize("title", ["", "SEVENTEEN-LETTERS", "BACK\\SLASH", " PACS"])
def test_what_is_no_ae_title_is_refused(title: str) -> None:
    with pytest.raises(ValidationError):
        DimseSource(name="pacs", ae_title=title)


@pytest.mark.parametrize("address", ["10.1.0.0/33", "pacs.example", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        AllowedSender(ae_title="PACS", addresses=(address,))


def test_an_orthancs_password_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="TLS"):
        OrthancSource(
            name="orthanc", url="http://orthanc.example:8042", user="gateway", password_file=tmp_path / "word"
        )
    OrthancSource(name="orthanc", url="http://127.0.0.1:8042", user="gateway", password_file=tmp_path / "word")
    with pytest.raises(ValidationError, match="belong together"):
        OrthancSource(name="orthanc", url="https://orthanc.example", user="gateway")

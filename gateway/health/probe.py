"""``python -m gateway.health.probe``: whether the gateway lives, for a container's health check. It imports next to nothing.

Exit codes: 0 it answers at ``/health/live``; 1 it does not. Not whether it is ready: a gateway whose destination is down still
receives, and an orchestrator that restarted it would help nobody.

The gateway is asked where it was told to serve when it started, which the supervisor has recorded: ``gateway.yaml`` may have been edited
since, and is asked only where nothing is recorded. The record lies in the folder for temporary files, where it is found without the file.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from gateway.health.settings import WebSettings
from pdl1es.atomic import write_atomically

_SECONDS = 10
_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def address_of(config: Path) -> str:
    """Return where the gateway of a ``gateway.yaml`` lives.

    Parameters
    ----------
    config
        The file; what it holds now counts only where no gateway has recorded that it runs by it.

    Returns
    -------
    str

    Raises
    ------
    OSError, yaml.YAMLError or ValueError
        Nothing is recorded, and the file cannot be read or is at fault.
    """
    return _recorded(config) or _health_address(
        WebSettings.model_validate((yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("web") or {})
    )


def record_address(config: Path, web: WebSettings) -> Path:
    """Record where the gateway that starts now serves.

    Parameters
    ----------
    config
        The ``gateway.yaml`` that it was started with.
    web
        Its section ``web`` of then.

    Returns
    -------
    pathlib.Path
        The record; it is to be removed when the gateway stops.

    Raises
    ------
    OSError
        There is no folder for temporary files that it can be written to.
    """
    record = _record_of(config)
    write_atomically(record, _health_address(web).encode("ascii"))
    return record


def _record_of(config: Path) -> Path:
    """Return the record's path: of this user and of this file alone."""
    name = hashlib.sha256(os.fsencode(config.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"pdl1es-gateway-{os.getuid()}-{name}.address"


def _recorded(config: Path) -> str:
    try:
        descriptor = os.open(_record_of(config), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(descriptor, encoding="ascii") as file:
        # Anyone may put a file there.
        return file.read(200) if os.fstat(descriptor).st_uid == os.getuid() else ""


def _health_address(web: WebSettings) -> str:
    host = _THIS_MACHINE.get(web.bind, web.bind)
    return f"http://{f'[{host}]' if ':' in host else host}:{web.port}/health/live"


def main() -> int:
    """Ask once.

    Returns
    -------
    int
        Exit code.
    """
    try:
        with urlopen(address_of(Path(os.environ["PDL1ES_GATEWAY_CONFIG"])), timeout=_SECONDS) as answer:
            return 0 if answer.status == 200 else 1
    except (URLError, OSError) as error:
        print(f"the gateway does not answer: {error}", file=sys.stderr)
        return 1
    except (yaml.YAMLError, ValueError):
        print("no gateway has recorded that it runs, and gateway.yaml is at fault", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

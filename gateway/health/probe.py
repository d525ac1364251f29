"""``python -m gateway.health.probe``: whether the gateway lives, for a container's health check. It imports next to nothing.

Exit codes: 0 it answers at ``/health/live``; 1 it does not. Not whether it is ready: a gateway whose destination is down still
receives, and an orchestrator that restarted it would help nobody.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from gateway.health.settings import WebSettings

_SECONDS = 10
_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def address_of(config: Path) -> str:
    """Return where the gateway of a ``gateway.yaml`` says that it lives.

    Parameters
    ----------
    config
        The file; the gateway that is asked has read it, so it holds no fault.

    Returns
    -------
    str
    """
    web = WebSettings.model_validate((yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("web") or {})
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


if __name__ == "__main__":
    sys.exit(main())

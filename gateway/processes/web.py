"""The web process: ``python -m gateway.processes.web``. Health and metrics."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

import uvicorn

from gateway.health.heartbeat import Heartbeat
from gateway.health.pages import health_application
from gateway.processes.setup import WEB, begin_process, what_is_expected
from pdl1es.exit_code import ExitCode

_MOST_AT_ONCE = 64
_IDLE_SECONDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM.

    Returns
    -------
    int
        Exit code.
    """
    parts = begin_process(arguments, WEB, wait_for_database=False)
    if parts is None:
        return ExitCode.REPORT_WRITTEN
    settings = parts.settings
    server = uvicorn.Server(
        uvicorn.Config(
            health_application(parts.engine, what_is_expected(settings)),
            host=settings.web.bind,
            port=settings.web.port,
            log_config=None,
            access_log=False,  # an address may hold what a person typed
            limit_concurrency=_MOST_AT_ONCE,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_IDLE_SECONDS,
            server_header=False,
        )
    )

    def end() -> None:
        parts.ended.wait()
        server.should_exit = True

    threading.Thread(target=end, daemon=True).start()
    with Heartbeat(parts.engine, parts.name):
        server.run()
    return ExitCode.REPORT_WRITTEN if parts.ended.is_set() or server.started else ExitCode.USAGE


if __name__ == "__main__":
    sys.exit(main())

"""The web process: ``python -m gateway.processes.web``. Health and metrics."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from typing import ClassVar

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.health.pages import health_application
from gateway.health.readiness import Readiness
from gateway.processes.setup import WEB, begin_process, what_is_expected
from pdl1es.exit_code import ExitCode

_MOST_AT_ONCE = 64
_IDLE_SECONDS = 5


class BriefConnection(H11Protocol):
    """A connection that ends after a time, by itself: uvicorn waits for the rest of a request for ever, and takes so many at once."""

    longest_seconds: ClassVar[float] = 30.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count."""
        super().connection_made(transport)
        self._end = self.loop.call_later(self.longest_seconds, self.shutdown)  # an answer under way is finished

    def connection_lost(self, exc: Exception | None) -> None:
        """Count no longer."""
        self._end.cancel()
        super().connection_lost(exc)


def web_server_config(application: Starlette, bind: str, port: int) -> uvicorn.Config:
    """Return how the addresses are served.

    Parameters
    ----------
    application
        What is served.
    bind, port
        Where; 0 for any port that is free.

    Returns
    -------
    uvicorn.Config
    """
    return uvicorn.Config(
        application,
        host=bind,
        port=port,
        http=BriefConnection,
        log_config=None,
        access_log=False,  # an address may hold what a person typed
        limit_concurrency=_MOST_AT_ONCE,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_IDLE_SECONDS,
        server_header=False,
    )


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
    readiness = Readiness(parts.engine, what_is_expected(settings))
    application = health_application(readiness)
    server = uvicorn.Server(web_server_config(application, settings.web.bind, settings.web.port))

    def end() -> None:
        parts.ended.wait()
        server.should_exit = True

    threading.Thread(target=end, daemon=True).start()
    with parts.heartbeat(readiness.detail):
        server.run()
    return ExitCode.REPORT_WRITTEN if parts.ended.is_set() or server.started else ExitCode.USAGE


if __name__ == "__main__":
    sys.exit(main())

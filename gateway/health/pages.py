"""The HTTP addresses for whoever watches the gateway: is it alive, is it ready, its metrics."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.health.metrics import metrics_text
from gateway.health.readiness import Readiness, notices


def health_application(readiness: Readiness) -> Starlette:
    """Return the application.

    Parameters
    ----------
    readiness
        Says what stands in the way.

    Returns
    -------
    starlette.applications.Starlette
        ``/health/live``: 200 while the process lives. ``/health/ready``: 200 or 503, with what stands in the way and what a person
        should know besides.
        ``/metrics``: Prometheus.
    """

    def live(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    def ready(request: Request) -> Response:
        found = readiness.look()
        told = [
            {
                "code": one.code,
                "of": one.of,
                "found": one.found,
                "since": None if one.since is None else one.since.isoformat(timespec="seconds"),
                "remedy": one.remedy,
            }
            for one in found
        ]
        status = "not ready" if found else "ready"
        content = {"status": status, "obstacles": told, "notices": list(notices(readiness.engine))}
        return JSONResponse(content, status_code=503 if found else 200)

    def metrics(request: Request) -> Response:
        return Response(metrics_text(readiness), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
        ]
    )

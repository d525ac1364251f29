"""Requests to a DICOMweb server (PS3.18): limits on size and time, and a reason wherever one fails."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from requests.adapters import HTTPAdapter

from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.settings import WebService
from pdl1es.regular_file import read_regular_file

MOST_TOKEN_BYTES = 65_536


class LimitedBody:
    """The body of an answer, of which no more is read than the limits allow.

    requests reads a body through ``raw.stream``; everything else goes to the body itself.
    """

    def __init__(self, body: Any, most_bytes: int, seconds: float) -> None:
        """Begin to count.

        Parameters
        ----------
        body
            urllib3's response.
        most_bytes
            After decompression.
        seconds
            From now.
        """
        self._body = body
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def __getattr__(self, name: str) -> Any:
        """Return what the body itself has."""
        return getattr(self._body, name)

    def stream(self, amount: int = 65_536, decode_content: bool | None = None) -> Iterator[bytes]:
        """Give the body in parts.

        Parameters
        ----------
        amount
            Of one part, bytes, at most.
        decode_content
            Whether it is decompressed.

        Yields
        ------
        bytes

        Raises
        ------
        PeerError
            ``LIMIT_EXCEEDED`` or ``TIMEOUT``.
        """
        taken = 0
        # urllib3's own stream waits until a part is full, however slowly the bytes come.
        while part := self._body.read1(min(amount, 2**20), decode_content=decode_content):
            taken += len(part)
            if taken > self._most_bytes:
                raise PeerError(PeerFailure.LIMIT_EXCEEDED, f"the body is larger than {self._most_bytes} bytes")
            if time.monotonic() > self._until:
                raise PeerError(PeerFailure.TIMEOUT, f"the body took longer than {self._seconds:g} s")
            yield part


class _LimitedAdapter(HTTPAdapter):
    def __init__(self, service: WebService, most_bytes: int) -> None:
        self._service = service
        self._most_bytes = most_bytes
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        if (name := self._service.tls.host_name) is not None:
            options |= {"assert_hostname": name, "server_hostname": name}
        super().init_poolmanager(*arguments, **options)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        response = super().send(request, *arguments, **options)
        response.raw = LimitedBody(response.raw, self._most_bytes, self._service.total_seconds)
        return response


def open_session(service: WebService, most_bytes: int) -> requests.Session:
    """Return a session with a server: its certificate is checked, no redirect is followed, no proxy or .netrc is looked for.

    Parameters
    ----------
    service
        The server.
    most_bytes
        Largest body of an answer.

    Returns
    -------
    requests.Session

    Raises
    ------
    PeerError
        ``NOT_AUTHORISED``: the file of the token cannot be read.
    """
    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0
    adapter = _LimitedAdapter(service, most_bytes)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    system = ssl.get_default_verify_paths()
    session.verify = str(service.tls.ca_file) if service.tls.ca_file else system.cafile or system.capath or True
    if service.tls.certificate is not None and service.tls.key is not None:
        session.cert = (str(service.tls.certificate), str(service.tls.key))
    if service.bearer_token_file is not None:
        session.headers["Authorization"] = f"Bearer {_token(service)}"
    return session


def open_client(service: WebService, most_bytes: int) -> DICOMwebClient:
    """Return a DICOMweb client on a session of `open_session`. It does not try again by itself: that is decided above.

    Parameters
    ----------
    service
        The server.
    most_bytes
        Largest body of an answer.

    Returns
    -------
    DICOMwebClient
    """
    client = DICOMwebClient(
        service.url,
        session=open_session(service, most_bytes),
        timeout=(service.connect_seconds, service.response_seconds),
    )
    client.set_http_retry_params(retry=False)
    return client


@contextmanager
def reasons(what: str) -> Iterator[None]:
    """Turn the errors of requests into `PeerError`.

    Parameters
    ----------
    what
        The request, for the message.

    Raises
    ------
    PeerError
        What the block raised, with a reason that quotes nothing that the server wrote.
    """
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise PeerError(PeerFailure.TLS_FAILED, what) from error
    except requests.exceptions.Timeout as error:
        raise PeerError(PeerFailure.TIMEOUT, what) from error
    except requests.exceptions.HTTPError as error:
        response = error.response
        raise status_error(what, response.status_code if response is not None else 0) from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise PeerError(PeerFailure.ABORTED, what) from error
    except requests.exceptions.ConnectionError as error:
        raise PeerError(_kind_of_connection_error(error), what) from error
    except (requests.exceptions.RequestException, ValueError, RecursionError) as error:
        raise PeerError(PeerFailure.BAD_ANSWER, f"{what}: {type(error).__name__}") from error


def status_error(what: str, status: int) -> PeerError:
    """Return the error of an HTTP status that is no success.

    Parameters
    ----------
    what
        The request, for the message.
    status
        The HTTP status.

    Returns
    -------
    PeerError
    """
    found = f"{what}: HTTP {status}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return PeerError(PeerFailure.NOT_AUTHORISED, found)
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return PeerError(PeerFailure.TIMEOUT, found)
    if status in (HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE):
        return PeerError(PeerFailure.NOT_ACCEPTED, found)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
        return PeerError(PeerFailure.BUSY, found)
    if status < 400:
        return PeerError(PeerFailure.BAD_ANSWER, found)
    return PeerError(PeerFailure.REFUSED, found)


def _kind_of_connection_error(error: requests.exceptions.ConnectionError) -> PeerFailure:
    """requests has one class for a connection that could not be opened and for one that broke."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionResetError | BrokenPipeError) or type(cause).__name__ == "ProtocolError":
            return PeerFailure.ABORTED
        reasons = [part for part in cause.args if isinstance(part, BaseException)]
        cause = reasons[-1] if reasons else cause.__cause__ or cause.__context__
    return PeerFailure.UNREACHABLE


def _token(service: WebService) -> str:
    assert service.bearer_token_file is not None
    name = service.bearer_token_file.name
    try:
        token = read_regular_file(service.bearer_token_file, MOST_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PeerError(PeerFailure.NOT_AUTHORISED, f"the token's file {name} cannot be read") from error
    if not token or not token.isprintable() or " " in token:
        raise PeerError(PeerFailure.NOT_AUTHORISED, f"the token's file {name} holds no token")
    return token

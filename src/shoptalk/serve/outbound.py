"""Requests to addresses that others gave: never into one's own network.

A name is resolved once, every address it has must be public, and the connection goes to the address that was checked:
a name that means something else a moment later (rebinding) changes nothing. Redirects are not followed.
"""

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from urllib.parse import SplitResult, urlsplit

from shoptalk.serve.refusals import Refused

Resolve = Callable[[str, int], list[str]]
TIMEOUT = 10.0
_LARGEST = 20_000_000


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host."""
    return [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Whether an address lies on the public internet, also where it is an IPv4 address in the clothes of IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def check_url(url: str) -> SplitResult:
    """The parts of an address that may be asked.

    Raises:
        Refused: it is no http or https address, or has a user and password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Refused(400, "bad_address", f"{url[:200]!r} is no http or https address.")
    if parts.username is not None or parts.password is not None:
        raise Refused(400, "bad_address", "The address has a user or password in it; that is not sent.")
    return parts


def checked_address(parts: SplitResult, *, private: Collection[str], resolver: Resolve) -> tuple[str, int]:
    """The address and port that a connection goes to.

    Raises:
        Refused: the host has no address, or one that is not public and is not allowed by its name.
    """
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = resolver(host, port)
    except (OSError, UnicodeError):
        addresses = []
    if not addresses:
        raise Refused(400, "unknown_host", f"{host[:200]!r} has no address.")
    if host not in private and not all(map(is_public, addresses)):
        raise Refused(
            400,
            "private_address",
            f"{host[:200]!r} lies in a private network. `private_targets` in the section [serve] may allow it.",
        )
    return addresses[0], port


def ask(
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    private: Collection[str] = (),
    resolver: Resolve = resolve,
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of what a public server answers, at most 20 MB in ten seconds for each step.

    Raises:
        Refused: the address may not be asked.
        OSError: it does not answer.
    """
    parts = check_url(url)
    address, port = checked_address(parts, private=private, resolver=resolver)
    stream: socket.socket = socket.create_connection((address, port), timeout=TIMEOUT)
    try:
        if parts.scheme == "https":
            stream = ssl.create_default_context().wrap_socket(stream, server_hostname=parts.hostname)
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
        connection.sock = stream
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        ends = time.monotonic() + 3 * TIMEOUT
        read = bytearray()
        while piece := response.read1(65_536):
            read += piece
            if len(read) > _LARGEST or time.monotonic() > ends:
                raise OSError("the answer is too large or too slow")
        return response.status, {name.casefold(): value for name, value in response.getheaders()}, bytes(read)
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no proper answer ({error})") from None
    finally:
        stream.close()


def signature(secret: str, at: int, body: bytes) -> str:
    """What a webhook is signed with: HMAC-SHA256 over the time, a full stop, and the body."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"

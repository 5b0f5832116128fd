"""Which addresses a device talks to: TLS is required for a server on another machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def check_address(url: str) -> None:
    """Raises ValueError unless `url` is https, or http to this machine."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a server: https://host is needed")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"{url!r} would send messages in the open: TLS is required off this machine, use https")


def is_loopback(host: str) -> bool:
    """Whether a host, by name or by IP address, is this machine whatever the network says."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Which addresses a request may reach.

Comes in: an IP address as text, the setting `allow_hosts`. Goes out: yes or no.
Does not know: names; who resolves one checks every address it has.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

# `ipaddress.is_global` passes multicast, NAT64 and 6to4, and its tables differ between Python versions: the list is ours
_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata service of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")  # everything that is handed out so far
_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: would reach any IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Tell whether `address` is one that anybody on the internet could reach. IPv6 that wraps IPv4 is judged by the IPv4."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _CLOSED_V4)
    if ip.scope_id:
        return False
    if ip.ipv4_mapped is not None:
        return is_public(str(ip.ipv4_mapped))
    if ip in _NAT64:  # an IPv6-only network reaches every IPv4 host this way
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip in _OPEN_V6 and not any(ip in network for network in _CLOSED_V6)


class AllowList:
    """The hosts of the setting `allow_hosts`: `host` for every port, `host:port` for one, IPv6 in brackets where a port follows."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._entries = frozenset(_entry(host) for host in hosts)

    def names(self, host: str, port: int) -> bool:
        """Tell whether the list names this host, or this host and port."""
        host = host.lower().rstrip(".")
        return (host, None) in self._entries or (host, port) in self._entries

    def resolved(self) -> frozenset[tuple[str, int | None]]:
        """Return the list as (address, port or None): for a check that only sees addresses."""
        found: set[tuple[str, int | None]] = set()
        for host, port in self._entries:
            try:
                found |= {(str(entry[4][0]), port) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
            except OSError:  # a name that is not known now allows nothing
                continue
        return frozenset(found)


def _entry(text: str) -> tuple[str, int | None]:
    text = text.strip().lower()
    if text.count(":") > 1 and not text.startswith("["):
        return text, None  # a bare IPv6 address
    parts = urlsplit(f"//{text}")
    return (parts.hostname or "").rstrip("."), parts.port

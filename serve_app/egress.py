"""Connections to addresses that callers named: only to the public internet, whatever a name says it is.

The check stands at the last moment, where a socket is about to be made for one address that a name was resolved to: the
connection goes to that very address, so a name that resolves to another one a moment later (rebinding) gains nothing,
and odd spellings (decimal, octal, IPv4 within IPv6) have become plain addresses by then. Redirects and proxies are not
followed. What the operator lists as allowed may be reached wherever it lies. The addresses of this very machine are not
public, whatever network they are in; one that a router translates to it is not known here.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import aiohttp
import psutil

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_RESERVED = """0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 192.88.99.0/24 240.0.0.0/4
::/96 ::ffff:0:0:0/96 64:ff9b:1::/48 3fff::/20 5f00::/16 fec0::/10
168.63.129.16/32"""
NOWHERE = tuple(ipaddress.ip_network(network) for network in _RESERVED.split())
"""Not public either; the standard library knows some of them only in later versions. The last one is Azure's own."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)

_LOOKUPS = ThreadPoolExecutor(16, "lookup")


class NotPublic(OSError):
    """The address lies in a private network, and nothing was sent there."""


def is_public(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether a connection may go there: `allowed` lists private networks that may be reached all the same."""
    inner = embedded(address)
    if any(one in network for one in (address, inner) for network in allowed if one.version == network.version):
        return True
    return all(_is_global(one) for one in {address, inner}) and not own() & {address, inner}


def own() -> set[Address]:
    """The addresses of this machine."""
    places = [place for places in psutil.net_if_addrs().values() for place in places if place.family in FAMILIES]
    return {ipaddress.ip_address(place.address.partition("%")[0]) for place in places}


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, Teredo, NAT64); else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_global(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address in NAT64):
        return True  # the address within decides
    known = any(address in network for network in NOWHERE if address.version == network.version)
    return address.is_global and not address.is_multicast and not known


def connector(allowed: Iterable[Network] = (), limit: int = 100) -> aiohttp.TCPConnector:
    """For a client session; each connection is used once, and at most `limit` at a time."""
    networks = tuple(allowed)

    def checked(found: Any) -> socket.socket:
        family, kind, protocol, _, place = found
        if not is_public(ipaddress.ip_address(str(place[0]).partition("%")[0]), networks):
            raise NotPublic("the address lies in a private network")
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        socket_factory=checked, resolver=Resolver(), use_dns_cache=False, force_close=True, limit=limit
    )


class Resolver(aiohttp.abc.AbstractResolver):
    """Names are looked up in threads of their own: a name server that never answers holds up nobody else's work."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        ask = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            {"hostname": host, "host": str(place[0]), "port": port, "family": kind, "proto": protocol, "flags": numeric}
            for kind, _, protocol, _, place in await asyncio.get_running_loop().run_in_executor(_LOOKUPS, ask)
        ]

    async def close(self) -> None:
        """The threads are everybody's."""

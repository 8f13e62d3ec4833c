"""Which addresses are public, whatever they look like."""

import ipaddress
import socket

import psutil
import pytest

from serve_app.egress import is_public, own

PRIVATE = """0.0.0.0 10.1.2.3 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.0.1
192.0.0.8 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a00:1
64:ff9b:1::1 64:ff9b:1::808:808 2002:7f00:1:: 2002:a00:1:: 2001::1 2001:db8::1 fc00::1 fd00::1 fe80::1 fec0::1
ff02::1 100::1 ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8 5f00::1 3fff::1 3fff:fff::1 168.63.129.16 ::ffff:168.63.129.16
64:ff9b::a83f:8110""".split()

PUBLIC = (
    "1.1.1.1 8.8.8.8 100.63.0.1 100.128.0.1 172.32.0.1 2606:4700:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808".split()
)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_what_the_operator_allows_is_reached_also_within_ipv6() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::5"):
        assert is_public(ipaddress.ip_address(address), allowed)
    for address in ("10.2.0.1", "::ffff:10.2.0.1", "::1"):
        assert not is_public(ipaddress.ip_address(address), allowed)


def test_this_machine_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {ipaddress.ip_address("127.0.0.1")} <= own()
    found = psutil.net_if_addrs()
    [known, *_] = [place for place in found["lo"] if place.family == socket.AF_INET]
    found["eth9"] = [
        known._replace(address="8.8.4.4"),
        known._replace(family=socket.AF_INET6, address="2606:4700:4700::1001%eth9"),
        known._replace(family=psutil.AF_LINK, address="00:00:00:00:00:01"),
    ]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    for address in ("8.8.4.4", "::ffff:8.8.4.4", "64:ff9b::808:404", "2606:4700:4700::1001"):
        assert not is_public(ipaddress.ip_address(address))
        assert is_public(ipaddress.ip_address(address), [ipaddress.ip_network(ipaddress.ip_address(address))])
    assert is_public(ipaddress.ip_address("8.8.8.8"))

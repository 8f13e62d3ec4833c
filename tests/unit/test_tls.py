"""The certificates of the gRPC door, and whose calls are taken in the clear."""

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from pathlib import Path

import grpc
import pytest
import trustme

from configs.app import AppSettings
from configs.environment import Tls, UnfitEnvironment
from models.errors import NotAllowed
from serve_app.doors.tls import add_tls_to_server, check, check_caller
from tests.service import free_port, sealed

HERE = AppSettings().ingress.plaintext_from
VARIABLES = ("GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE", "GRPC_TLS_CLIENT_CA_FILE", "GRPC_TLS_ADDRESS")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield


# -- callers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", ["ipv4:127.0.0.1:9", "ipv6:%5B::1%5D:9", "ipv6:[::1]:9", "unix:/x", "unix:",
                                  "ipv6:[::ffff:127.0.0.1]:9"])  # fmt: skip
def test_this_machine_needs_no_tls(peer: str) -> None:
    check_caller(peer, {}, HERE)


@pytest.mark.parametrize("peer", ["ipv4:10.0.0.1:9", "ipv6:%5Bfe80::1%25eth0%5D:9", "ipv6:[::ffff:10.0.0.1]:9"])
def test_others_do(peer: str) -> None:
    with pytest.raises(NotAllowed, match="TLS") as refused:
        check_caller(peer, {}, HERE)
    assert refused.value.code == "permission_denied"
    check_caller(peer, {"transport_security_type": [b"ssl"]}, HERE)


def test_networks_that_are_named_do_not() -> None:
    check_caller("ipv4:10.0.0.1:9", {}, (ip_network("10.0.0.0/8"),))
    with pytest.raises(NotAllowed):
        check_caller("ipv4:127.0.0.1:9", {}, (ip_network("10.0.0.0/8"),))


# -- certificates ------------------------------------------------------------------------------------------------------


def given(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Tls:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Tls.from_environment()
    assert found is not None
    return found


def test_without_variables_there_is_no_tls() -> None:
    assert Tls.from_environment() is None


def test_certificate_and_key_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_TLS_CERT_FILE", sealed(trustme.CA(), tmp_path)["GRPC_TLS_CERT_FILE"])
    with pytest.raises(UnfitEnvironment, match="GRPC_TLS_KEY_FILE"):
        Tls.from_environment()
    monkeypatch.setenv("GRPC_TLS_KEY_FILE", str(tmp_path / "nothing"))
    with pytest.raises(UnfitEnvironment, match="GRPC_TLS_KEY_FILE names cannot be read"):
        Tls.from_environment()


def test_files_that_do_not_fit_together_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = sealed(trustme.CA(), tmp_path)
    check(tls := given(monkeypatch, variables))
    other = trustme.CA().issue_cert("localhost").private_key_pem
    other.write_to_path(tls.key)
    with pytest.raises(UnfitEnvironment, match="its own key"):
        check(tls)
    sealed(trustme.CA(), tmp_path)
    assert tls.client_ca is not None
    tls.client_ca.write_text("nonsense")
    with pytest.raises(UnfitEnvironment, match="GRPC_TLS_CLIENT_CA_FILE"):
        check(tls)


@pytest.mark.parametrize("address", ["localhost", "localhost:", "localhost:x", "localhost:0", "localhost:99999"])
def test_an_address_without_a_port_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with pytest.raises(UnfitEnvironment, match="GRPC_TLS_ADDRESS"):
        _ = given(monkeypatch, {**sealed(trustme.CA(), tmp_path), "GRPC_TLS_ADDRESS": address}).port


@pytest.fixture
async def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server that has nothing but its certificate, whose files lie in `tmp_path`; clients need none."""
    port, variables = free_port(), sealed(trustme.CA(), tmp_path)
    del variables["GRPC_TLS_CLIENT_CA_FILE"]
    given(monkeypatch, {**variables, "GRPC_TLS_ADDRESS": f"localhost:{port}"})
    server = grpc.aio.server()
    add_tls_to_server(None, server)
    await server.start()
    yield port
    await server.stop(None)


async def reached(port: int, authority: bytes) -> bool:
    """Whether a client that trusts `authority` gets an answer; the answer is that there is no such method."""
    async with grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(authority)) as channel:
        try:
            await channel.unary_unary("/a/b")(b"", timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED
    raise AssertionError("a method that is not there has answered")


async def test_a_renewed_certificate_is_taken_without_a_restart(port: int, tmp_path: Path) -> None:
    old = (tmp_path / "CLIENT_CA.pem").read_bytes()
    assert await reached(port, old)
    sealed(trustme.CA(), tmp_path)
    assert await reached(port, (tmp_path / "CLIENT_CA.pem").read_bytes())
    assert not await reached(port, old)


async def test_one_that_cannot_be_used_is_not_taken(
    port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "KEY.pem").write_text("half a ke")
    assert await reached(port, (tmp_path / "CLIENT_CA.pem").read_bytes())
    assert "is not taken" in caplog.text and str(tmp_path) not in caplog.text

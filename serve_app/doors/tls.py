"""TLS on the gRPC door, and who may do without.

Serve's proxy opens one port itself, in the clear and on every interface, and there is no option to either. But it hands
its server to the functions that `grpc_servicer_functions` names, before it starts: `add_tls_to_server` is one of them,
and opens a second port there, with TLS. Nothing is forwarded: both ports lead to the same methods.

The port in the clear cannot be closed, so its callers are told apart by where they come from: this machine, and what
`ingress.plaintext_from` names. Anybody else is refused before anything of the call is looked at, its key included.
Serve's own two services (reflection, and a list of what is deployed) and the health check answer there all the same.

Files are read again when they have changed, at the next handshake: a renewed certificate needs no restart. New ones
that do not fit together are not taken, and the old ones stay.
"""

import logging
import ssl
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc

from configs.environment import Tls, UnfitEnvironment
from models.errors import NotAllowed

log = logging.getLogger(__name__)

Networks = Sequence[IPv4Network | IPv6Network]
SEALED = b"ssl"


def add_tls_to_server(_: object, server: grpc.aio.Server) -> None:
    """Opens the port for TLS when the environment asks for one. Called by Serve's proxy, in its process."""
    tls = Tls.from_environment()
    if tls is not None:
        server.add_secure_port(tls.address, credentials(tls))


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """Raises UnfitEnvironment when the files do not fit together."""
    seen = stamps(tls)
    first = configuration(tls)

    def renewed() -> Any:
        """Asked by gRPC before each handshake: a configuration; None: as before."""
        nonlocal seen
        try:
            now = stamps(tls)
            if now == seen:
                return None
            seen = now
            return configuration(tls)
        except (OSError, UnfitEnvironment) as error:
            log.warning("the new certificate of the gRPC door is not taken: %s", error)
            return None

    return grpc.dynamic_ssl_server_credentials(first, renewed, require_client_authentication=tls.client_ca is not None)


def configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    check(tls)
    clients = tls.client_ca.read_bytes() if tls.client_ca else None
    return grpc.ssl_server_certificate_configuration([(tls.key.read_bytes(), tls.certificate.read_bytes())], clients)


def check(tls: Tls) -> None:
    """Raises UnfitEnvironment for a key of another certificate, or files that are no PEM: gRPC would say less."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password="")  # a locked key fails, and asks nobody
    except (ssl.SSLError, OSError, ValueError):
        raise UnfitEnvironment(
            "GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE name a PEM certificate and its own key, which has no password"
        ) from None
    if tls.client_ca is None:
        return
    try:
        context.load_verify_locations(tls.client_ca)
    except (ssl.SSLError, OSError):
        raise UnfitEnvironment(
            "GRPC_TLS_CLIENT_CA_FILE has to name the PEM certificates of whoever signs clients"
        ) from None


def stamps(tls: Tls) -> list[tuple[int, int]]:
    """What changes when a file is written or replaced."""
    files: list[Path] = [path for path in (tls.certificate, tls.key, tls.client_ca) if path]
    return [(state.st_mtime_ns, state.st_ino) for state in (path.stat() for path in files)]


# -- callers without TLS -----------------------------------------------------------------------------------------------


def check_caller(peer: str, auth: Mapping[str, Any], plaintext_from: Networks) -> None:
    """Raises NotAllowed for a call in the clear from elsewhere; `peer` and `auth` are gRPC's words."""
    if SEALED in (auth.get("transport_security_type") or ()):
        return
    address = address_of(peer)
    if address is not None and not any(address in network for network in plaintext_from):
        raise NotAllowed(
            "calls from another machine are taken with TLS only; the operator of this service knows its port"
        )


def address_of(peer: str) -> Any:
    """The IP address in a peer such as ipv4:10.0.0.1:4711 or ipv6:%5B::1%5D:4711; None for a socket of this machine."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    found = ip_address(rest.rpartition(":")[0].strip("[]").partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found

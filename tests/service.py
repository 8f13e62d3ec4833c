"""A real service for a test: its own ports, folders and config, started as a user would, stopped by its pid."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import trustme
import yaml

from serve_app.demo import running_service
from serve_app.grpc_client import GrpcClient

WEBHOOK_SECRET = "the secret of a test"
REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Service:
    grpc_url: str
    tls_url: str
    http_url: str
    uploads: Path
    artifacts: Path
    work: Path
    certificates: trustme.CA
    """Who has signed for the port with TLS, and signs for its clients."""

    def client(self) -> GrpcClient:
        return GrpcClient(self.grpc_url)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.http_url, timeout=30, trust_env=False)

    def processes(self) -> Iterator[psutil.Process]:
        """All of the service, by the work folder that they were told."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TEMP_WORK_DIR") == str(self.work):
                    yield process

    def open_files(self) -> Iterator[str]:
        """What its processes have open now, files without a name as well."""
        for process in self.processes():
            for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
                with suppress(OSError):
                    yield str(descriptor.readlink())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def service(folder: Path, args: dict[str, Any]) -> Iterator[Service]:
    """serve_config.yaml with other ports and `args`, and roots in `folder`; its output goes to service.log there."""
    config = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    grpc_port, http_port, tls_port = free_port(), free_port(), free_port()
    config["grpc_options"]["port"] = grpc_port
    config["http_options"]["port"] = http_port
    config["applications"][0]["args"] = args
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    roots = {"UPLOADS_DIR": folder / "uploads", "ARTIFACTS_DIR": folder / "artifacts", "TEMP_WORK_DIR": folder / "work"}
    for root in roots.values():
        root.mkdir()
    (folder / "secret").write_text(f"{WEBHOOK_SECRET}\n")
    environment = {name: str(root) for name, root in roots.items()} | {"WEBHOOK_SECRET_FILE": str(folder / "secret")}
    authority = trustme.CA()
    environment |= sealed(authority, folder) | {"GRPC_TLS_ADDRESS": f"localhost:{tls_port}"}
    http_url = f"http://127.0.0.1:{http_port}"
    with (folder / "service.log").open("wb") as output, running_service(path, http_url, environment, output):
        yield Service(f"127.0.0.1:{grpc_port}", f"localhost:{tls_port}", http_url, *roots.values(), authority)


def sealed(authority: trustme.CA, folder: Path) -> dict[str, str]:
    """Variables for a port with TLS, whose clients need a certificate of the same authority; its files in `folder`."""
    files = {name: folder / f"{name}.pem" for name in ("CERT", "KEY", "CLIENT_CA")}
    server = authority.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(files["KEY"])
    files["CERT"].write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
    authority.cert_pem.write_to_path(files["CLIENT_CA"])
    return {f"GRPC_TLS_{name}_FILE": str(path) for name, path in files.items()}

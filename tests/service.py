"""A real service for a test: its own ports, folders and config, started as a user would, stopped by its pid."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from serve_app.demo import running_service
from serve_app.grpc_client import GrpcClient

WEBHOOK_SECRET = "the secret of a test"
REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Service:
    grpc_url: str
    http_url: str
    uploads: Path
    artifacts: Path
    work: Path

    def client(self) -> GrpcClient:
        return GrpcClient(self.grpc_url)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.http_url, timeout=30, trust_env=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def service(folder: Path, args: dict[str, Any]) -> Iterator[Service]:
    """serve_config.yaml with other ports and `args`, and roots in `folder`; its output goes to service.log there."""
    config = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    grpc_port, http_port = free_port(), free_port()
    config["grpc_options"]["port"] = grpc_port
    config["http_options"]["port"] = http_port
    config["applications"][0]["args"] = args
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    roots = {"UPLOADS_DIR": folder / "uploads", "ARTIFACTS_DIR": folder / "artifacts", "TEMP_WORK_DIR": folder / "work"}
    for root in roots.values():
        root.mkdir()
    environment = {name: str(root) for name, root in roots.items()} | {"WEBHOOK_SECRET": WEBHOOK_SECRET}
    http_url = f"http://127.0.0.1:{http_port}"
    with (folder / "service.log").open("wb") as output, running_service(path, http_url, environment, output):
        yield Service(f"127.0.0.1:{grpc_port}", http_url, *roots.values())

"""The control plane is closed: whoever reaches one of Ray's ports and has no token is turned away."""

from contextlib import suppress

import grpc
import psutil
import pytest

from tests.service import Service

CALLS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVGet",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.serve.ASGIService/HandleRequest",
)
"""Of the control store, the scheduler, the workers and the replicas: what they would tell, and what they would run."""


def ports(served: Service) -> dict[int, str]:
    """Every port on which a process of the service listens, and the name of the process."""
    found = dict[int, str]()
    for process in served.processes():
        with suppress(psutil.Error):
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    found[one.laddr.port] = process.name()
    return found


def asked(port: int, call: str, token: str) -> str:
    """How a call ends; TIMEOUT where nobody speaks gRPC."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(call)(b"", metadata=metadata, timeout=3)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_nobody_without_the_token_is_told_or_obeyed(served: Service, token: str) -> None:
    listening = ports(served)
    assert {"gcs_server", "raylet"} <= set(listening.values()), listening
    ours = {int(url.rpartition(":")[2]) for url in (served.grpc_url, served.tls_url, served.http_url)}
    ends = {
        (port, name, call): asked(port, call, token)
        for port, name in listening.items()
        if port not in ours
        for call in CALLS
    }
    assert not [where for where, end in ends.items() if end in ("OK", "UNKNOWN")]  # it ran, or tried to
    refused = {name for (_, name, _), end in ends.items() if end == "UNAUTHENTICATED"}
    assert {"gcs_server", "raylet"} <= refused, ends
    assert any(name.startswith("ray::ServeReplica") for name in refused), ends


def test_there_is_no_dashboard(served: Service) -> None:
    assert 8265 not in ports(served)

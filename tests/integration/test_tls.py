"""The port with TLS, of the same service: who gets in, and that everything passes as it does in the clear."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
import yaml

from serve_app.demo import doors, running_service
from serve_app.jobs.database import Database
from serve_app.jobs.tenants import Tenant, Tenants
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub
from tests.integration.conftest import ECHO
from tests.service import REPOSITORY, Service, free_port, sealed

DIRECT = [("grpc.enable_http_proxy", 0)]


@contextmanager
def speaking(served: Service, signed_by: trustme.CA | None) -> Iterator[TranslationServiceStub]:
    """A client that trusts the service, with a certificate of somebody's or without one."""
    roots = served.certificates.cert_pem.bytes()
    mine = signed_by.issue_cert("client@example.org") if signed_by else None
    chain = b"".join(part.bytes() for part in mine.cert_chain_pems) if mine else None
    trust = grpc.ssl_channel_credentials(roots, mine.private_key_pem.bytes() if mine else None, chain)
    with grpc.secure_channel(served.tls_url, trust, options=DIRECT) as channel:
        yield TranslationServiceStub(channel)


@pytest.fixture(scope="module")
def stub(served: Service) -> Iterator[TranslationServiceStub]:
    with speaking(served, served.certificates) as stub:
        yield stub


def ended(stub: TranslationServiceStub, **options: object) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetTranslationResult(pb.ResultRequest(session_id="nobody"), timeout=20, **options)
    return caught.value


def test_a_client_without_tls_is_refused(served: Service) -> None:
    with grpc.insecure_channel(served.tls_url, options=DIRECT) as channel:
        assert ended(TranslationServiceStub(channel)).code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_without_a_certificate_is_refused(served: Service) -> None:
    with speaking(served, None) as stub:
        assert ended(stub).code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_with_the_certificate_of_a_stranger_is_refused(served: Service) -> None:
    with speaking(served, trustme.CA()) as stub:
        assert ended(stub).code() is grpc.StatusCode.UNAVAILABLE


def test_an_error_keeps_its_code_and_sentence(stub: TranslationServiceStub) -> None:
    error = ended(stub)
    assert error.code() is grpc.StatusCode.NOT_FOUND and "no job" in error.details()
    error = ended(stub, metadata=[("authorization", "Bearer dub_1_wrong")])
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_refusal_keeps_the_time_to_come_again(
    served: Service, stub: TranslationServiceStub, short_talk: Path
) -> None:
    database = Database(f"sqlite:///{served.work / '.jobs.sqlite'}")
    key = Tenants(database).issue(Tenants(database).add(Tenant("sealed", queued=0)).name)
    database.close()
    home = served.uploads / "tenants" / "sealed"
    home.mkdir(parents=True)
    asked = pb.TranslationRequest(session_id="sealed-0", file_path=str(shutil.copy(short_talk, home)), target_lang="es")
    with pytest.raises(grpc.RpcError) as refused:
        list(stub.TranslateVideo(asked, metadata=[("authorization", f"Bearer {key}")], timeout=30))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(refused.value.trailing_metadata())["retry-after"] == "30"


def test_a_stream_passes_to_its_end_and_a_job_is_cancelled(
    served: Service, stub: TranslationServiceStub, short_talk: Path
) -> None:
    video = str(shutil.copy(short_talk, served.uploads / "sealed.mp4"))
    asked = pb.TranslationRequest(session_id="sealed-1", file_path=video, source_lang="en", target_lang="es")
    seen = list(stub.TranslateVideo(asked, timeout=120))
    assert len(seen) > 1 and seen[-1].status == "completed"
    stream = stub.TranslateVideo(
        pb.TranslationRequest(session_id="sealed-2", file_path=video, source_lang="en", target_lang="fr"), timeout=120
    )
    assert next(stream).session_id == "sealed-2"
    assert stub.CancelTranslation(pb.CancelRequest(session_id="sealed-2"), timeout=20).success
    with pytest.raises(grpc.RpcError) as cancelled:
        list(stream)
    assert cancelled.value.code() is grpc.StatusCode.CANCELLED and "cancelled" in cancelled.value.details()


def test_a_deadline_is_kept(stub: TranslationServiceStub, served: Service, short_talk: Path) -> None:
    video = str(shutil.copy(short_talk, served.uploads / "late.mp4"))
    asked = pb.TranslationRequest(session_id="sealed-3", file_path=video, source_lang="en", target_lang="es")
    with pytest.raises(grpc.RpcError) as late:
        list(stub.TranslateVideo(asked, timeout=0.05))
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_call_in_the_clear_from_elsewhere_is_refused(served: Service) -> None:
    """The service of these tests takes such calls from IPv4's loopback only, so that ::1 is elsewhere."""
    port = served.grpc_url.rpartition(":")[2]
    with grpc.insecure_channel(f"[::1]:{port}", options=DIRECT) as channel:
        stub = TranslationServiceStub(channel)
        error = ended(stub, metadata=[("authorization", "Bearer dub_1_wrong")])
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED and "TLS" in error.details()
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.TranslateVideo(pb.TranslationRequest(session_id="elsewhere"), timeout=20))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    files = sealed(authority, tmp_path)
    config = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    config["grpc_options"]["port"] = free_port()
    config["http_options"] |= {"port": free_port(), "ssl_keyfile": files["GRPC_TLS_KEY_FILE"]}
    config["http_options"]["ssl_certfile"] = files["GRPC_TLS_CERT_FILE"]
    config["applications"][0]["args"] = ECHO
    path = tmp_path / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    url, _ = doors(path)
    monkeypatch.setenv("SSL_CERT_FILE", files["GRPC_TLS_CLIENT_CA_FILE"])
    roots = {name: str(tmp_path / name) for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR")}
    with running_service(path, url, roots):
        with httpx.Client(verify=files["GRPC_TLS_CLIENT_CA_FILE"], trust_env=False) as http:
            assert http.get(f"{url}/v1/jobs").json() == []
        with httpx.Client(trust_env=False) as plain, pytest.raises(httpx.HTTPError):
            plain.get(url.replace("https", "http") + "/v1/jobs", timeout=20)

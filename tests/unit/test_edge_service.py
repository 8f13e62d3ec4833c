"""The edge engine and its library against a service on this machine that speaks the protocol, and fails in its ways."""

import datetime
import gc
import ipaddress
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from configs.engines import TtsSettings
from configs.pipeline import PipelineSettings, SpeakSettings
from models.errors import StageFailed
from models.registry import load
from models.segment import Segment, Utterance
from models.tts.edge import EdgeTts
from serve_app.gates import faults
from serve_app.jobs.report import Report
from serve_app.local import in_thread
from serve_app.media import audio
from serve_app.stages.speak import speak
from serve_app.telemetry import metrics
from serve_app.telemetry.engines import observing
from tests.edge import EdgeService, edge_service

TEXT = "Dos perros corren por el campo & no paran."
ONCE = SpeakSettings(asks=1)
QUICK = {"backoff_s": 0.0, "edge_per_s": 1000.0, "edge_max_delay_s": 0.0, "edge_timeout_s": 30.0}


# aiohttp closes a TLS connection some turns of the loop later; here the loop ends with the sentence
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy, and what is left open is collected where that is no fault."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield
    gc.collect()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[EdgeService]:
    with edge_service() as running:
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", running.url)
        yield running


def engine(**settings: object) -> EdgeTts:
    made: EdgeTts = load("tts", "edge", TtsSettings.model_validate({**QUICK, **settings}))
    return made


def test_a_sentence_over_the_wire(service: EdgeService) -> None:
    [speech] = engine().speak([Utterance(TEXT, "es", "male", rate=1.2)])
    [(text, voice, rate)] = service.asked
    assert (text, rate) == (TEXT, "+20%") and "es-ES, AlvaroNeural" in voice
    assert speech.duration == pytest.approx(len(TEXT) / 15 / 1.2, abs=0.15)
    assert abs(speech.audio).max() == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("script", "transient", "message", "calls"),
    [
        (["403", "403"], False, "refused with 403", 2),  # the library sets its clock by the first
        (["429"], True, "refused with 429", 1),
        (["503"], True, "refused with 503", 1),
        (["nothing"], False, "sent no sound", 1),
        (["silence"], False, "gave no sound", 1),
        (["half"], True, "broke off in the middle", 1),
    ],
)
def test_each_way_to_fail_has_a_type_and_is_over_with_it(
    service: EdgeService, script: list[str], transient: bool, message: str, calls: int
) -> None:
    service.script = script
    voice = engine()
    with pytest.raises(StageFailed, match=message) as caught:
        voice.speak([Utterance(TEXT, "es")])
    assert (caught.value.transient, service.calls) == (transient, calls)
    [speech] = voice.speak([Utterance(TEXT, "es")])
    assert speech.duration > 2


def test_a_service_that_hangs_is_left(service: EdgeService) -> None:
    service.script = ["hangs"]
    with pytest.raises(StageFailed, match=r"no answer in 0\.5 s") as caught:
        engine(edge_timeout_s=0.5).speak([Utterance(TEXT, "es")])
    assert caught.value.transient


def test_one_wrong_clock_is_set_by_what_the_service_says(service: EdgeService) -> None:
    service.script = ["403"]
    assert engine().speak([Utterance(TEXT, "es")])[0].duration > 2


def test_it_is_tried_again_and_then_it_works(service: EdgeService) -> None:
    service.script = ["429", "half", "503"]
    fallback = load("tts", "fallback", TtsSettings.model_validate({**QUICK, "engines": ["edge", "espeak"], "tries": 4}))
    [speech] = fallback.speak([Utterance(TEXT, "es", "female")])
    assert (speech.voice, service.calls) == ("edge:es-ES-ElviraNeural", 4)


def test_whoever_asks_for_a_long_rest_gets_it_and_nobody_waits(service: EdgeService) -> None:
    service.script, service.headers = ["429"], {"Retry-After": "120"}
    voice = engine()
    with pytest.raises(StageFailed, match="429"):
        voice.speak([Utterance(TEXT, "es")])
    with pytest.raises(StageFailed, match=r"left alone for another 1[12]\d s") as caught:
        voice.speak([Utterance(TEXT, "es")])
    assert service.calls == 1 and not caught.value.transient


def test_no_more_than_a_few_connections_at_once(service: EdgeService) -> None:
    voice = engine(edge_at_once=2)
    with ThreadPoolExecutor(6) as pool:
        spoken = list(pool.map(lambda n: voice.speak([Utterance(f"{TEXT} {n}", "es")])[0], range(6)))
    assert len(spoken) == 6 and service.calls == 6 and service.most_busy <= 2


async def room(folder: Path, *, engines: list[str], report: Report, number: int = 6) -> list[Segment]:
    settings = TtsSettings.model_validate({**QUICK, "engines": engines})
    say = observing("speak", in_thread(load("tts", "fallback", settings).speak, at_once=2))
    segments = [Segment(n, 3.0 * n, 3.0 * n + 2.8, "words", translation=f"{TEXT} {n}") for n in range(number)]
    rules = {"language": "es", "gender": "", "folder": folder, "settings": ONCE, "report": report}
    return await speak(segments, say=say, **rules)  # type: ignore[arg-type]


async def test_with_the_service_down_the_offline_voice_finishes_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with edge_service() as gone:
        url = gone.url
    monkeypatch.setattr("edge_tts.communicate.WSS_URL", url)  # nobody listens there any more
    report = Report("job")
    done = await room(tmp_path, engines=["edge", "espeak"], report=report)
    assert [segment.voice for segment in done] == ["espeak:es"] * 6
    assert all(len(audio.read(segment.speech or "")[0]) for segment in done)
    assert not [line for line in report.lines() if line.level == "error"]


@pytest.mark.parametrize("how", ["403", "429", "503", "nothing", "silence", "half"])
async def test_however_it_fails_the_offline_voice_finishes_the_job(
    service: EdgeService, tmp_path: Path, how: str
) -> None:
    service.script = [how] * 100
    done = await room(tmp_path, engines=["edge", "espeak"], report=Report("job"))
    assert [segment.voice for segment in done] == ["espeak:es"] * 6
    assert service.calls <= 16  # the breaker: it is not asked for every sentence


async def test_a_service_that_comes_back_is_used_again(service: EdgeService, tmp_path: Path) -> None:
    service.script = ["nothing", "nothing"]
    done = await room(tmp_path, engines=["edge", "espeak"], report=Report("job"))
    voices = [(segment.voice or "").partition(":")[0] for segment in done]
    assert sorted(voices) == ["edge"] * 4 + ["espeak"] * 2


async def test_a_try_that_failed_and_was_mended_is_named_and_no_fallback(
    service: EdgeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(metrics, "add", lambda name, **labels: counted.append(name))
    service.script = ["429"]
    report = Report("job")
    [segment] = await room(tmp_path, engines=["edge", "espeak"], report=report, number=1)
    assert segment.voice == "edge:es-ES-ElviraNeural" and service.calls == 2
    assert segment.retries == ("the edge service refused with 429, asked again",)
    [fault] = faults([segment], [], PipelineSettings())
    assert (fault.kind, fault.mended) == ("respoken", True)
    assert "dubserve_fallbacks_total" not in counted
    [segment] = await room(tmp_path, engines=["edge", "espeak"], report=report, number=1)
    assert segment.retries == ("the edge service refused with 429, asked again",) and service.calls == 2
    service.script = ["nothing"]
    [segment] = await room(tmp_path / "other", engines=["edge", "espeak"], report=report, number=1)
    assert segment.voice == "espeak:es" and counted.count("dubserve_fallbacks_total") == 1


def test_a_certificate_of_nobody_is_refused_and_one_that_is_trusted_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with edge_service(context) as service:
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", service.url)
        with pytest.raises(StageFailed, match="cannot be reached"):
            engine().speak([Utterance(TEXT, "es")])
        assert service.calls == 0
        monkeypatch.setattr("edge_tts.communicate._SSL_CTX", ssl.create_default_context(cafile=str(pem)))
        assert engine().speak([Utterance(TEXT, "es")])[0].duration > 2


def certificate(folder: Path) -> Path:
    """A key and a certificate for this machine that only their maker trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(here, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = builder.sign(key, hashes.SHA256())
    path = folder / "server.pem"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()) + made.public_bytes(encoding))
    return path

"""`python -m export` as one types it: real processes, killed in the middle too, on a hub that is only a cache."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from models.artifact import damaged, read

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "models" / "demo" / "en-es"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Marian checkpoint with the demo's tokenizer and a card."""
    from transformers import MarianConfig, MarianMTModel, set_seed

    set_seed(3)
    sides = ("encoder", "decoder")
    sizes = {f"{side}_{what}": n for side in sides for what, n in (("ffn_dim", 48), ("attention_heads", 4))}
    sizes |= {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 7000, "decoder_vocab_size": 7000}
    sizes |= {"pad_token_id": 6999, "eos_token_id": 0, "decoder_start_token_id": 6999, "forced_eos_token_id": 0}
    folder = tmp_path_factory.mktemp("checkpoints") / "opus-mt-en-es"
    network = MarianMTModel(MarianConfig(**sizes, max_position_embeddings=64, init_std=0.4))
    network.generation_config.bad_words_ids = [[6999]]
    network.save_pretrained(folder)
    for name in ("source.spm", "target.spm", "vocab.json"):
        shutil.copy(DEMO / name, folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def hub(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a model hub that was asked for two models once, one of which came through only half."""
    home = tmp_path_factory.mktemp("hub")
    for name in ("opus-mt-en-es", "opus-mt-es-en"):
        model = home / "hub" / f"models--Helsinki-NLP--{name}"
        shutil.copytree(tiny, model / "snapshots" / COMMIT)
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text(COMMIT, "utf-8")
    (model / "snapshots" / COMMIT / "model.safetensors").unlink()
    return home


def start(hub: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"HF_HOME": str(hub), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    call = [sys.executable, "-m", "export", *arguments]
    # a shell starts what runs in its background deaf to Ctrl-C, and children inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            call, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def command(hub: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with start(hub, *arguments) as child:
        out, err = child.communicate(timeout=120)
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def test_a_name_that_is_not_in_reach_is_one_sentence(tmp_path: Path) -> None:
    done = command(tmp_path, "translation", "Helsinki-NLP/opus-mt-en-de", "--out", str(tmp_path / "en-de"))
    assert done.returncode == 1
    assert "the hub cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "en-de").exists()


def test_verify_tells_what_it_did_and_what_not(tmp_path: Path) -> None:
    done = command(tmp_path, "verify", str(DEMO))
    assert (done.returncode, "9 files intact" in done.stdout, "--against" in done.stdout) == (0, True, True)
    missing = command(tmp_path, "verify", str(tmp_path / "nothing"))
    assert missing.returncode == 1
    assert "python -m export translation" in missing.stderr


def test_pairs_from_the_hub_one_of_which_fails(hub: Path, tmp_path: Path) -> None:
    """The first is made and verified against the hub, the second is told; a second run leaves the first alone."""
    pairs = ["translation", "--pair", "es-en", "--pair", "en-es", "--root", str(tmp_path), "--no-quantise"]
    done = command(hub, *pairs)
    assert done.returncode == 1, done.stderr
    assert "[1/2] Helsinki-NLP/opus-mt-es-en" in done.stdout
    assert "the checkpoint Helsinki-NLP/opus-mt-es-en is incomplete" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["en-es"]
    manifest = read(tmp_path / "en-es").manifest
    assert (manifest.source, manifest.revision) == ("Helsinki-NLP/opus-mt-en-es", COMMIT)
    assert manifest.licence == "apache-2.0"
    assert manifest.verdict
    assert manifest.verdict.passed
    again = command(hub, *pairs[:1], *pairs[3:])
    assert again.returncode == 0
    assert "is there already, whole" in again.stdout
    checked = command(hub, "verify", str(tmp_path / "en-es"))
    assert checked.returncode == 0, checked.stderr
    assert "checkpoint.beam4: sentences 6, same 1" in checked.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_in_the_middle_the_old_artifact_serves_on(tiny: Path, tmp_path: Path, number: signal.Signals) -> None:
    old = shutil.copytree(DEMO, tmp_path / "en-es")
    with start(tmp_path, "translation", str(tiny), "--out", str(old)) as child:
        end_at(child, "comparing with the checkpoint", number)
        assert child.wait(60) != 0
    assert damaged(read(old)) == []
    assert read(old).manifest.source == "demo-en-es"
    assert {path.name for path in tmp_path.iterdir() if path.name != "en-es"} == (
        {path.name for path in tmp_path.glob(".export-*")} if number == signal.SIGKILL else set()
    )


def end_at(child: "subprocess.Popen[str]", words: str, number: signal.Signals) -> None:
    assert child.stdout
    watchdog = threading.Timer(120, child.kill)
    watchdog.start()
    while words not in child.stdout.readline():
        assert child.poll() is None
    child.send_signal(number)
    watchdog.cancel()


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
sys.argv[0] = "export"
runpy.run_module("export", run_name="__main__")
"""


def test_a_disk_without_room_leaves_nothing_and_says_so(tiny: Path, tmp_path: Path) -> None:
    call = [sys.executable, "-c", LIMITED, "translation", str(tiny), "--out", str(tmp_path / "out")]
    done = subprocess.run(call, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "the disk is full, or a file would be larger than allowed; make room and export out again" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_older_manifest_stays_readable(tmp_path: Path) -> None:
    facts = json.loads((DEMO / "manifest.json").read_text("utf-8"))
    old = shutil.copytree(DEMO, tmp_path / "en-es")
    kept = {name: value for name, value in facts.items() if name not in ("opset", "tools", "verdict")}
    (old / "manifest.json").write_text(json.dumps(kept), "utf-8")
    manifest = read(old).manifest
    assert (manifest.opset, manifest.tools, manifest.verdict) == (0, {}, None)

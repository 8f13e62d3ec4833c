"""A model artifact: a folder with weights and a `manifest.json` that says what they are.

The manifest names the origin (model and revision), the tools that made it, how the weights were quantised, which
languages they serve, under which licence, how they scored, and the size and SHA-256 of every file. Fields that came
later have defaults, so that an older manifest stays readable. Loading compares names and sizes only, which
costs microseconds and catches half-copied folders; a flipped byte is found by `python -m export verify`, which hashes.
"""

import hashlib
import shlex
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import ArtifactMissing

MANIFEST = "manifest.json"
EXAMPLE = "python -m export translation Helsinki-NLP/opus-mt-en-de --out models/local/en-de"
"""The command that a message shows when the manifest itself cannot say how it was made."""


EXPORTERS = {"asr": "whisper"}
"""Kind of artifact → the command that makes it, where the two are called differently."""


class File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Verdict(BaseModel):
    """What a comparison with the checkpoint came to, and by which measure."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    passed: bool
    missed: tuple[str, ...] = Field((), description="thresholds that were missed, in words")
    thresholds: dict[str, float] = Field(description="figure → the value that it had to reach, or not to exceed")


class Manifest(BaseModel):
    """What the folder holds. Languages are ISO-639-1; `target_prefix` is the model's own token, such as `>>por<<`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str
    source: str = Field(description="hub name or folder name of the checkpoint")
    revision: str
    quantisation: str = Field(description="int8, float16, none, or CTranslate2's name")
    opset: int = Field(0, ge=0, description="of the ONNX graphs; 0 where it is not known or there are none")
    tools: dict[str, str] = Field(default_factory=dict, description="tool → the version that made this")
    source_languages: tuple[str, ...] = ()
    target_language: str = ""
    target_prefix: str = ""
    licence: str = "unknown"
    created: str = Field(description="ISO date, UTC")
    tokens: dict[str, int] = Field(default_factory=dict, description="ids the decoder needs: start, end, pad")
    positions: int = Field(512, ge=8, description="the longest sequence the model was built for, in tokens")
    parity: str = Field("", description="agreement with the checkpoint, measured at export")
    scores: dict[str, dict[str, float]] = Field(default_factory=dict, description="test set → metric → value")
    verdict: Verdict | None = Field(None, description="of the last comparison with the checkpoint")
    golden: tuple[tuple[str, str], ...] = Field((), description="(text or recording, what these weights make of it)")
    files: dict[str, File]

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset((source, self.target_language) for source in self.source_languages)

    @property
    def command(self) -> str:
        """The shell command that makes this artifact again."""
        out = "-".join((*self.source_languages, self.target_language)).strip("-") or Path(self.source).name
        words = ["python", "-m", "export", EXPORTERS.get(self.kind, self.kind), *self._options, self.source]
        return shlex.join([*words, "--out", f"models/local/{out}"])

    @property
    def _options(self) -> list[str]:
        if self.kind == "asr":
            return ["--quantisation", self.quantisation]
        if self.kind == "separation":
            return []
        exact = {"none": ["--no-quantise"], "float16": ["--fp16"]}.get(self.quantisation, [])
        return [*exact, *(["--prefix", self.target_prefix] if self.target_prefix else [])]


@dataclass(frozen=True, slots=True)
class Artifact:
    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """Where file `name` lies. Raises ArtifactMissing when the manifest does not list it."""
        if name not in self.manifest.files:
            raise ArtifactMissing(f"the model {self.folder.name} has no {name}; make it again: {self.manifest.command}")
        return self.folder / name


def read(folder: Path) -> Artifact:
    """The artifact in `folder`, with the names and sizes of its files checked.

    Raises ArtifactMissing, with the command that makes it, for a missing or damaged one.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError:
        raise ArtifactMissing(f"there is no model in {folder.name}; make one, for example: {EXAMPLE}") from None
    except ValidationError:
        raise ArtifactMissing(f"the manifest of {folder.name} is damaged; make the model again: {EXAMPLE}") from None
    for name, file in manifest.files.items():
        if not _intact(folder, name, file):
            raise ArtifactMissing(f"{name} of {folder.name} is missing or cut short; make it again: {manifest.command}")
    return Artifact(folder, manifest)


def find(patterns: tuple[str, ...], kind: str | None = None) -> list[Artifact]:
    """The artifacts that match `patterns`, sorted by path within each pattern; `kind` keeps one kind only.

    A relative pattern is looked up in the working directory, else beside the `models` package. Folders without a
    manifest are passed over when a glob found them, and raise ArtifactMissing when they were named.
    """
    found = {folder.resolve(): read(folder) for pattern in patterns for folder in folders(pattern)}
    return [artifact for artifact in found.values() if kind in (None, artifact.manifest.kind)]


def damaged(artifact: Artifact) -> list[str]:
    """Names of files whose SHA-256 differs from the manifest: reads everything, some 100 MB a second or better."""
    files = artifact.manifest.files
    return [name for name, file in files.items() if digest(artifact.folder / name) != file.sha256]


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _intact(folder: Path, name: str, file: File) -> bool:
    path = folder / name
    return Path(name).name == name and path.is_file() and path.stat().st_size == file.bytes


def folders(pattern: str) -> list[Path]:
    """Folders that `find` would look into; a name without a glob always gives one, there or not."""
    if not has_magic(pattern):
        return [next((root / pattern for root in _roots() if (root / pattern / MANIFEST).is_file()), Path(pattern))]
    for root in _roots():
        hits = sorted(hit.parent for hit in _glob(root, f"{pattern.rstrip('/')}/{MANIFEST}"))
        if hits:
            return hits
    return []


def _roots() -> tuple[Path, Path]:
    return Path.cwd(), Path(__file__).resolve().parents[1]


def _glob(root: Path, pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_absolute():
        root, path = Path(path.anchor), path.relative_to(path.anchor)
    return list(root.glob(str(path)))

"""Where a checkpoint comes from: its name, exact revision and licence, and the versions of the tools that read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from export.staging import full
from models.artifact import digest
from models.errors import ArtifactMissing

UNKNOWN = "see the model card of the checkpoint"


def source_name(model: str) -> str:
    """A hub name as it is; of a folder only its own name, since artifacts travel and paths do not."""
    return Path(model).absolute().name if Path(model).is_dir() else model


def config(model: str, family: str, example: str, revision: str | None = None) -> Any:
    """The checkpoint's configuration, as transformers reads it.

    Raises ArtifactMissing when it cannot be had, when it is of another family than `family` (transformers' model_type),
    and where the exporter's libraries are missing.
    """
    try:
        import torch  # noqa: F401 - transformers imports without it, and fails much later
        from transformers import AutoConfig
    except ImportError:
        raise ArtifactMissing("exporting needs torch and more; install it with: pip install -e '.[export]'") from None
    try:
        found = AutoConfig.from_pretrained(model, revision=revision)
    except (OSError, ValueError) as error:
        if full(error):
            raise
        raise ArtifactMissing(
            f"there is no checkpoint {model!r} in this folder or on the model hub, or the hub cannot be reached;"
            " check the name and the network, or give a folder that was downloaded elsewhere"
        ) from None
    if found.model_type != family:
        raise ArtifactMissing(f"{model} is a {found.model_type} model; give a {family.title()} one, such as {example}")
    return found


def commit(config: Any) -> str | None:
    """The hub's commit, so that all files are of the same one; None for a folder."""
    found: str | None = getattr(config, "_commit_hash", None)
    return found


def revision(model: str, config: Any) -> str:
    """The hub's commit; for a folder the digest over its weight files."""
    weights = sorted([*Path(model).glob("*.safetensors"), *Path(model).glob("*.bin")])
    return commit(config) or "sha256:" + "+".join(digest(path)[:12] for path in weights)


def licence(model: str, revision: str | None) -> str:
    """As the model card says it, on the hub or beside the weights; a pointer to the card where it does not."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        data = ModelCard(_card(model, revision).read_text("utf-8"), ignore_metadata_errors=True).data
    except (OSError, ValueError, yaml.YAMLError):
        return UNKNOWN
    named = data.get("license_name") if data.get("license") == "other" else data.get("license")
    return ", ".join(named) if isinstance(named, list) else str(named or UNKNOWN)


def _card(model: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    if Path(model).is_dir():
        return Path(model, "README.md")
    return Path(hf_hub_download(model, "README.md", revision=revision))


def tools(*names: str) -> dict[str, str]:
    """Version of each installed package; the exporter is this product."""
    return {"exporter": _version("dubserve"), **{name: _version(name) for name in names}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def complete(model: str) -> Iterator[None]:
    """What the libraries raise for missing, short or mismatched files becomes one sentence; a full disk passes."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    ours = (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, EOFError)
    try:
        yield
    except (*ours, UnpicklingError, SafetensorError) as error:
        if full(error):
            raise
        raise ArtifactMissing(
            f"the checkpoint {model} is incomplete; download it again, weights and tokenizer"
        ) from error


def whole(model: str, loading: dict[str, Any]) -> None:
    """Raises ArtifactMissing for tensors that were not in the files, and that transformers would make up."""
    lost = [*loading["missing_keys"], *loading["mismatched_keys"]]
    if lost:
        raise ArtifactMissing(f"the checkpoint {model} is incomplete, it lacks {lost[0]}; download it again")

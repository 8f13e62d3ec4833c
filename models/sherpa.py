"""What the engines made of sherpa-onnx share: the library, which is an extra, and model files that are looked at first.

The library ends the whole process when a model is not what it takes it for, so the files are looked at here first, by
what their metadata says. That costs a second at start-up, and a file that lies about itself is still fatal.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import ArtifactMissing

HUB_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(/(?P<file>[\w./-]+\.onnx))?")
MODEL = "model.onnx"
"""The file of a hub repository that names none."""


def library(purpose: str, extra: str) -> Any:
    """The module. Raises ArtifactMissing, with what to install for this `purpose`."""
    try:
        import sherpa_onnx
    except ImportError as error:
        raise ArtifactMissing(
            f"{purpose} and sherpa-onnx is not installed; run: pip install 'dubserve[{extra}]'"
        ) from error
    return sherpa_onnx


def located(setting: str, source: str) -> Path:
    """The file that `setting` means: a path, or one of a hub's files, which is fetched once. Raises ArtifactMissing."""
    return Path(source) if Path(source).is_file() else _fetched(setting, source)


def metadata(setting: str, path: Path, kind: str, says: Mapping[str, str | None]) -> dict[str, str]:
    """What the model at `path` says of itself; raises ArtifactMissing unless it says all that a `kind` model does.

    `says` are the names that must be there, with the value that they must have, or None for any.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own types
        raise ArtifactMissing(f"the model of {setting} cannot be read; get it again") from error
    found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    missing = [name for name, value in says.items() if name not in found or value not in (None, found[name])]
    if missing:
        raise ArtifactMissing(
            f"{setting} is no {kind} model for sherpa-onnx (it does not say its {min(missing)}); "
            "use one that the sherpa-onnx project converted"
        )
    return found


def _fetched(setting: str, source: str) -> Path:
    if source.startswith(("/", ".", "~")) or not (hub := HUB_NAME.fullmatch(source)):
        raise ArtifactMissing(f"{setting} is no file that exists, nor owner/name of a hub")
    file = hub["file"] or MODEL
    import huggingface_hub  # late: most installations name files

    try:
        return Path(huggingface_hub.hf_hub_download(hub["repository"], file))
    except Exception as error:  # no network, no such model, no room: the hub raises a dozen types
        raise ArtifactMissing(
            f"the model of {setting} could not be downloaded; run: hf download {hub['repository']} {file}"
        ) from error

"""sherpa-onnx: UVR's MDX networks, or Spleeter with two stems, on ONNX Runtime and the CPU, without torch.

Both look at the spectrum of some seconds and say which part of it is voice. The library is an extra
(`pip install 'dubserve[separation]'`) and brings no weights. Spleeter is the fast one; UVR's are better and some ten
times as slow. Its licence is Apache 2.0; the models have their own.
"""

from pathlib import Path
from typing import Any

import numpy as np

from configs.engines import SeparationSettings
from models.artifact import MANIFEST, read
from models.errors import ArtifactMissing
from models.segment import SEPARATION_RATE, Stereo
from models.sherpa import library, located, metadata

SETTING = "engines.separation.model"
SPLEETER = {"model_type": "spleeter", "stems": "2"}
UVR = {
    "model_type": "UVR", "stems": "2", "sample_rate": str(SEPARATION_RATE), "n_fft": None, "center": None,
    "win_length": None, "hop_length": None, "dim_t": None, "dim_f": None, "dim_c": None, "window_type": None,
}  # fmt: skip
MUSIC = 1  # of the two stems; the other is the voice


class SherpaSeparator:
    def __init__(self, settings: SeparationSettings) -> None:
        """Raises ArtifactMissing without the library or a model, with what to do about it."""
        sherpa = library("music is to be kept under the dub", extra="separation")
        if not settings.model:
            raise ArtifactMissing(f"{SETTING} is empty; keeping music under the dub takes a UVR or Spleeter model")
        model = _network(sherpa, settings.model)
        model.num_threads = max(1, settings.threads)
        self._separator = sherpa.OfflineSourceSeparation(sherpa.OfflineSourceSeparationConfig(model=model))

    def separate(self, sounds: list[Stereo]) -> list[Stereo]:
        return [self._separate(sound) for sound in sounds]

    def _separate(self, sound: Stereo) -> Stereo:
        whole = np.ascontiguousarray(np.nan_to_num(sound), np.float32)
        made = self._separator.process(sample_rate=SEPARATION_RATE, samples=whole).stems[MUSIC].data
        samples = sound.shape[1]
        return np.pad(made[:, :samples], ((0, 0), (0, max(0, samples - made.shape[1]))))


def _network(sherpa: Any, source: str) -> Any:
    """The library's config of the model that `source` means, after a look at its files."""
    folder = Path(source)
    if not folder.is_dir():
        return _uvr(sherpa, located(SETTING, source))
    if (folder / MANIFEST).exists():
        read(folder)  # complains where a file is cut short
    vocals, accompaniment = (sorted(folder.glob(f"{stem}*.onnx")) for stem in ("vocals", "accompaniment"))
    if vocals and accompaniment:
        for path in (vocals[0], accompaniment[0]):
            metadata(SETTING, path, "Spleeter", SPLEETER if path is vocals[0] else {})
        spleeter = sherpa.OfflineSourceSeparationSpleeterModelConfig(str(vocals[0]), str(accompaniment[0]))
        return sherpa.OfflineSourceSeparationModelConfig(spleeter=spleeter)
    if len(files := sorted(folder.glob("*.onnx"))) == 1:
        return _uvr(sherpa, files[0])
    raise ArtifactMissing(
        f"{SETTING} is a folder without a model: it needs vocals.onnx and accompaniment.onnx of Spleeter, or one UVR "
        ".onnx file"
    )


def _uvr(sherpa: Any, path: Path) -> Any:
    metadata(SETTING, path, "UVR", UVR)
    uvr = sherpa.OfflineSourceSeparationUvrModelConfig(model=str(path))
    return sherpa.OfflineSourceSeparationModelConfig(uvr=uvr)

"""Which languages a Marian checkpoint translates: as its name, the table of known models, or whoever asks tells."""

import re
from collections.abc import Collection

from configs.pipeline import LANGUAGES
from export.origin import source_name
from models.errors import ArtifactMissing
from models.translation.pairs import ISO3, MODELS

FAMILIES = {"jap": ("ja",), "ROMANCE": ("es", "fr", "it", "pt"), **{code: (code,) for code in LANGUAGES}}
"""Language codes in hub names → the ISO-639-1 codes that they stand for."""


def languages(model: str, sources: tuple[str, ...] = (), target: str = "") -> tuple[tuple[str, ...], str]:
    """Source codes and target code: as given, else as the name tells. Raises ArtifactMissing when neither does."""
    named = _named(model)
    sources, targets = sources or named[0], (target,) if target else named[1]
    if not sources or len(targets) != 1 or not set(sources + targets) <= set(LANGUAGES):
        raise ArtifactMissing(
            f"the name {source_name(model)} does not tell the languages;"
            f" add --source and --target, out of {', '.join(LANGUAGES)}"
        )
    return sources, targets[0]


def _named(model: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = [pair for pair, one in MODELS.items() if one.name == model]
    found = re.search(r"opus-mt-(?:tc-big-|tc-base-)?([A-Za-z]+)-([A-Za-z]+)/*$", model)
    if found:
        return FAMILIES.get(found[1], ()), FAMILIES.get(found[2], ())
    return ((known[0][0],), (known[0][1],)) if known else ((), ())


def prefix(model: str, target: str, vocabulary: Collection[str], wanted: str | None) -> str:
    """The target token: as wanted, else of a known model, else the only one that fits a vocabulary with several.

    Raises ArtifactMissing, with the tokens that there are, when it takes someone to decide.
    """
    tokens = sorted(piece for piece in vocabulary if re.fullmatch(r">>.+<<", piece))
    if wanted is None:
        wanted = next((one.prefix for one in MODELS.values() if one.name == model and one.prefix), None)
    if wanted is None:
        fitting = [token for token in tokens if token == f">>{ISO3[target]}<<"]
        wanted = "" if len(tokens) < 2 else next(iter(fitting), None)
    if wanted is None or (wanted and wanted not in tokens):
        raise ArtifactMissing(f"this model serves several target languages; add --prefix, one of: {' '.join(tokens)}")
    return wanted

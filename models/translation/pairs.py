"""Which Marian model translates which pair, and how to get from one language to another with the models that are there.

The names are those of the Helsinki-NLP organisation on the model hub, whose codes differ from model to model (`jap`,
`tc-big`, ROMANCE); this table is the one place that knows them. A model that serves several target languages wants a
prefix token. Every pair that is not in the table goes through English: two models, twice the time, and the errors of
both; older direct models between two non-English languages are listed although some are no better than the detour,
because they halve the latency. Quality of none of them was measured here.
"""

from collections.abc import Collection
from typing import NamedTuple

from configs.pipeline import LANGUAGES
from models.errors import UnsupportedLanguage

Pair = tuple[str, str]
PIVOT = "en"


class Model(NamedTuple):
    """A checkpoint on the hub; `prefix` is the target token it wants in front of the text."""

    name: str
    prefix: str = ""


_REGULAR = {
    "en": ("hy", "ru", "es", "fr", "de", "it"),
    "hy": ("en", "ru"),
    "ru": ("en", "hy", "es", "fr"),
    "es": ("en", "ru", "fr", "de", "it"),
    "fr": ("en", "ru", "es", "de"),
    "de": ("en", "es", "fr", "it"),
    "it": ("en", "es", "fr", "de"),
    "zh": ("en",),
    "ja": ("en",),
}

MODELS: dict[Pair, Model] = {
    **{(s, t): Model(f"Helsinki-NLP/opus-mt-{s}-{t}") for s, targets in _REGULAR.items() for t in targets},
    ("en", "pt"): Model("Helsinki-NLP/opus-mt-tc-big-en-pt", ">>por<<"),
    ("pt", "en"): Model("Helsinki-NLP/opus-mt-ROMANCE-en"),
    ("en", "zh"): Model("Helsinki-NLP/opus-mt-en-zh", ">>cmn_Hans<<"),
    ("en", "ja"): Model("Helsinki-NLP/opus-mt-en-jap"),
}
"""The hub's direct models among the ten languages."""

ISO3 = {
    "en": "eng", "hy": "hye", "ru": "rus", "es": "spa", "fr": "fra", "de": "deu", "it": "ita", "pt": "por",
    "zh": "cmn_Hans", "ja": "jpn",
}  # fmt: skip
"""ISO-639-1 code → the code inside a `>>xxx<<` token."""


def check(*languages: str) -> None:
    """Raises UnsupportedLanguage for the first code that is none of the ten."""
    for language in languages:
        if language not in LANGUAGES:
            raise UnsupportedLanguage(
                f"the language {language!r} is not supported; choose one of: {', '.join(LANGUAGES)}"
            )


def route(pairs: Collection[Pair], source: str, target: str) -> tuple[Pair, ...]:
    """The models to apply, one after the other: the direct one of `pairs`, else two through English.

    The same language on both sides gives (). Raises UnsupportedLanguage, listing what `pairs` can do.
    """
    check(source, target)
    if source == target:
        return ()
    if (source, target) in pairs:
        return ((source, target),)
    legs = ((source, PIVOT), (PIVOT, target))
    if all(leg in pairs for leg in legs):
        return legs
    raise UnsupportedLanguage(f"no model translates {source} to {target}; choose one of: {_listed(pairs)}")


def reachable(pairs: Collection[Pair]) -> list[Pair]:
    """Every pair that `route` can serve with the models of `pairs`, sorted."""
    through = {(s, t) for s, middle in pairs for start, t in pairs if middle == start == PIVOT and s != t}
    return sorted(set(pairs) | through)


def missing(pairs: Collection[Pair], source: str, target: str) -> tuple[Pair, ...]:
    """The pairs whose models have to be made before `route` succeeds: the direct one where the hub has it."""
    if source == target:
        return ()
    if (source, target) in MODELS:
        return tuple({(source, target)} - set(pairs))
    return tuple(leg for leg in ((source, PIVOT), (PIVOT, target)) if leg not in pairs)


def recipe(source: str, target: str) -> str:
    """The shell command, or two joined by &&, that makes the models for this pair."""
    check(source, target)
    return " && ".join(_command(pair) for pair in missing((), source, target))


def _command(pair: Pair) -> str:
    model = MODELS[pair]
    prefix = f" --prefix '{model.prefix}'" if model.prefix else ""
    return f"python -m export translation {model.name} --out models/local/{'-'.join(pair)}{prefix}"


def _listed(pairs: Collection[Pair]) -> str:
    return (
        ", ".join(f"{source} to {target}" for source, target in reachable(pairs))
        or "none, because no model is installed"
    )

"""Marian through ONNX Runtime: the translation engine behind one verb.

Text becomes pieces, pieces join the batch of their model (`batcher`), and what comes back becomes text; serving needs
neither torch nor transformers. A sentence's translation does not depend on its neighbours: alone, in any batch and
order, whoever else calls at the same time, it comes out the same.

Models are loaded at first use and share a budget of memory (`shelf`); each is asked its golden sentences before it may
say anything else. A pair without a model of its own goes through English. For a GPU export with `--fp16`.
"""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import NamedTuple

from configs.engines import TranslationSettings
from models.artifact import Artifact, find, read
from models.errors import ArtifactMissing, DubError, UnsupportedLanguage
from models.futures import done, gather, then
from models.meter import Meter
from models.segment import Sentence
from models.translation.batcher import Batcher, Job, Limits
from models.translation.network import Network, on_gpu
from models.translation.pairs import Pair, check, recipe, route
from models.translation.search import Beam, Greedy, Rules
from models.translation.sentences import UNSPACED, cut
from models.translation.shelf import Shelf
from models.translation.tokenizer import Tokenizer

log = logging.getLogger(__name__)

ENOUGH = 0.5
"""Share of its golden sentences that a model must know, and share of a sentence's words that must come back for that:
quantised arithmetic differs a little between processors, and the search may be another than the export's."""


class Candidate(NamedTuple):
    """A translation. `score` is the mean log probability of its tokens, None where the search has none."""

    text: str
    score: float | None = None
    tokens: int = 0


Candidates = tuple[Candidate, ...]
"""Best first."""


def available(settings: TranslationSettings) -> frozenset[Pair]:
    """Pairs that have a model of their own. Reads manifests, loads no weights."""
    return frozenset(_by_pair(settings))


def _by_pair(settings: TranslationSettings) -> dict[Pair, Artifact]:
    """The first artifact that serves a pair wins."""
    artifacts: dict[Pair, Artifact] = {}
    for artifact in find(settings.artifacts, kind="translation"):
        for pair in artifact.manifest.pairs:
            artifacts.setdefault(pair, artifact)
    return artifacts


class Marian:
    """All exported Marian models that the settings name, behind one verb. Safe to call from several threads.

    `pairs` are the (source, target) pairs with a model of their own.
    """

    def __init__(self, settings: TranslationSettings) -> None:
        self._settings = settings
        self._artifacts = _by_pair(settings)
        self.meter = Meter(on_gpu=any(on_gpu(artifact, settings) for artifact in self._artifacts.values()))
        self._shelf: Shelf[MarianModel] = Shelf(partial(_load, settings, self.meter), settings.memory_mb * 2**20)
        self.pairs = frozenset(self._artifacts)

    def preload(self) -> None:
        """Loads the models of the pairs that `preload` names, and tries them.

        Raises ArtifactMissing for a pair without a model, and for a model that cannot be used.
        """
        for future in [self._shelf.use(artifact, done) for artifact in self._wanted()]:
            future.result()

    def translate(self, sentences: list[Sentence]) -> list[Sentence]:
        """The sentences with `candidates` and `scores` filled, best first; ("",) for empty text. Pairs may be mixed.

        Raises UnsupportedLanguage for a code that is none of the ten, ArtifactMissing for a pair without a model or
        with a damaged one. A greedy search gives no scores.
        """
        return gather([self.submit(sentence) for sentence in sentences]).result()

    def submit(self, sentence: Sentence, caller: str = "") -> "Future[Sentence]":
        """The same for one sentence, without waiting; a pair that cannot be had is raised at once.

        Callers are served in turn. Cancelling the future takes the sentence out of the batch.
        """
        candidates: Future[Candidates] = done((Candidate(sentence.text),))
        for leg in self._route(sentence.source, sentence.target):
            candidates = then(candidates, partial(self._best, leg, caller))
        return then(candidates, lambda found: done(_filled(sentence, found)))

    def model(self, source: str, target: str) -> "MarianModel":
        """The direct model of a pair, loaded if it was not, until it has to make room for others."""
        return self._shelf.use(self._artifacts[source, target], done).result()

    @property
    def loaded(self) -> list[str]:
        """Folder names of the models that are there, the one used longest ago first."""
        return self._shelf.loaded

    def _best(self, leg: Pair, caller: str, found: Candidates) -> "Future[Candidates]":
        work = partial(MarianModel.submit, text=found[0].text, caller=caller, language=leg[0])
        return self._shelf.use(self._artifacts[leg], work)

    def _route(self, source: str, target: str) -> tuple[Pair, ...]:
        check(source, target)
        try:
            return route(self.pairs, source, target)
        except UnsupportedLanguage:
            command = recipe(source, target)
            raise ArtifactMissing(f"no model translates {source} to {target}; make it with: {command}") from None

    def _wanted(self) -> list[Artifact]:
        """The models that `preload` names, each once: a name is a pair, or a pattern for those that are there."""
        legs: list[Pair] = []
        for name in self._settings.preload:
            source, dash, target = name.partition("-")
            if dash and "*" not in name:
                legs += self._route(source, target)
            else:
                legs += (pair for pair in self._artifacts if fnmatchcase("-".join(pair), name))
        return list({self._artifacts[leg].folder: self._artifacts[leg] for leg in legs}.values())


def _filled(sentence: Sentence, found: Candidates) -> Sentence:
    scores = tuple(candidate.score for candidate in found if candidate.score is not None)
    return replace(sentence, candidates=tuple(candidate.text for candidate in found), scores=scores)


def _load(settings: TranslationSettings, meter: Meter, artifact: Artifact) -> "MarianModel":
    """The model of an artifact as it is now, tried. Raises ArtifactMissing, with the command that makes it again."""
    fresh = read(artifact.folder)
    try:
        model = MarianModel(fresh, settings, meter)
    except (DubError, MemoryError):
        raise
    except Exception as error:  # the runtime and the tokenizer raise types of their own
        raise ArtifactMissing(f"the model {fresh.folder.name} cannot be loaded; {_remedy(fresh)}") from error
    try:
        model.try_golden(fresh)
    except BaseException:
        model.close()
        raise
    return model


def _remedy(artifact: Artifact) -> str:
    roots = (Path.cwd(), Path(__file__).resolve().parents[2])
    below = (artifact.folder.relative_to(root) for root in roots if artifact.folder.is_relative_to(root))
    folder = next(below, artifact.folder.name)
    return f"look at it with: python -m export verify {folder}, or make it again: {artifact.manifest.command}"


class MarianModel:
    """One exported checkpoint: tokenizer, network, and the batch that all callers share."""

    def __init__(self, artifact: Artifact, settings: TranslationSettings, meter: Meter | None = None) -> None:
        manifest = artifact.manifest
        self._settings, self._limit = settings, min(settings.max_length, manifest.positions)
        self._language, self._prefix = next(iter(manifest.source_languages), ""), manifest.target_prefix
        self._gap = "" if manifest.target_language in UNSPACED else " "
        self.tokenizer = Tokenizer(artifact.folder)
        network = Network(artifact, settings)
        self.words = network.words.tolist()
        self._places = places = {word: i for i, word in enumerate(self.words)}
        start, end, pad = (places[manifest.tokens[name]] for name in ("start", "end", "pad"))
        spellings = (ids for word in settings.bad_words for ids in self.tokenizer.spellings(word))
        banned = tuple(tuple(places[i] for i in ids) for ids in spellings if places.keys() >= set(ids))
        self._free = Rules(end, pad)
        self._rules = replace(self._free, no_repeat=settings.no_repeat_ngram, banned=banned)
        workers = settings.threads or os.cpu_count() or 1
        budget = settings.cache_tokens // workers
        limits = Limits(settings.beam_size, budget, self._limit, settings.batch_tokens, workers)
        self._batcher = Batcher(network, start, limits, meter)

    def translate(self, texts: Sequence[str]) -> list[str]:
        """The best translation of each text; "" for empty ones."""
        return [found[0].text for found in gather([self.submit(text) for text in texts]).result()]

    def submit(self, text: str, caller: str = "", language: str = "") -> "Future[Candidates]":
        """Candidates, best first, different from each other; one of "" for empty text.

        A text beyond the model's length is cut where `language` (by default the model's) has a border, and joined
        again, best with best and so on.
        """
        pieces = self._pieces(text, language or self._language) if text.strip() else []
        spoken = [self._say(ids, self._search(len(ids), self._rules), caller) for ids in pieces]
        return then(gather(spoken), lambda results: done(self._joined(results)))

    def generate(
        self,
        rows: Sequence[list[int]],
        openings: Sequence[Sequence[int]] | None = None,
        longest: Sequence[int | None] | None = None,
    ) -> list[list[int]]:
        """Best target ids of each row of source ids (end included), without the start, with the end.

        `openings[i]` are target ids that row i begins with, in its answer too. `longest[i]` is how many may follow them
        at most, the end included; None leaves it to the length of the source, and the model's limit holds in any case.
        Raises ValueError for an id that is never said, and where no room is left for one.
        """
        asked = zip(rows, openings or [()] * len(rows), longest or [None] * len(rows), strict=True)
        jobs = [self._job(row, self._search(len(row), self._rules, opening, most)) for row, opening, most in asked]
        found = gather([self._batcher.submit(job) for job in jobs]).result()
        return [[self.words[i] for i in best[0]] for best in found]

    def try_golden(self, artifact: Artifact) -> None:
        """Asks the artifact's golden sentences, whatever the settings forbid.

        Raises ArtifactMissing when too few come back. Sentences beyond the settings' length are not asked.
        """
        asked = [(self.tokenizer.encode(text, self._prefix), expected) for text, expected in artifact.manifest.golden]
        asked = [(ids, expected) for ids, expected in asked if len(ids) <= self._limit]
        said = gather([self._say(ids, self._search(len(ids), self._free)) for ids, _ in asked]).result()
        known = sum(self._alike(expected, found[0].text) for (_, expected), found in zip(asked, said, strict=True))
        if known < ENOUGH * len(asked):
            fault = f"the model {artifact.folder.name} knows only {known} of {len(asked)} golden sentences"
            raise ArtifactMissing(f"{fault}; {_remedy(artifact)}")

    def close(self) -> None:
        """Ends what was submitted and lets go of the memory. The model cannot be used afterwards."""
        self._batcher.close()

    def _say(self, ids: list[int], search: Beam | Greedy, caller: str = "") -> "Future[list[Candidate]]":
        return then(self._batcher.submit(self._job(ids, search), caller), lambda best: done(self._read(best, search)))

    def _job(self, ids: list[int], search: Beam | Greedy) -> Job:
        return Job(ids, search, len(search.opening) + search.room)

    def _search(
        self, length: int, rules: Rules, opening: Sequence[int] = (), longest: int | None = None
    ) -> Beam | Greedy:
        """The settings' way to search a translation of `length` source tokens."""
        if not self._places.keys() >= set(opening):
            raise ValueError(f"an opening holds target ids that this model never says: {list(opening)}")
        room = min(self._limit - 1 - len(opening), 3 * length + 16 if longest is None else longest)
        if room < 1:
            raise ValueError("an opening leaves no room for a token, or none is allowed")
        width, said = self._settings.beam_size, tuple(self._places[word] for word in opening)
        return (
            Greedy(rules, room, said) if width == 1 else Beam(rules, room, width, self._settings.length_penalty, said)
        )

    def _read(self, best: list[list[int]], search: Beam | Greedy) -> list[Candidate]:
        scores: Sequence[float | None] = search.scores() or [None] * len(best)
        return [Candidate(self._text(ids), s, len(ids)) for ids, s in zip(best, scores, strict=True)]

    def _text(self, said: list[int]) -> str:
        return self.tokenizer.decode([self.words[i] for i in said])

    def _joined(self, results: Sequence[list[Candidate]]) -> Candidates:
        """Candidate n of the whole is candidate n of every piece, or its last one."""
        count = max((len(candidates) for candidates in results), default=1)
        ranks = ([found[min(n, len(found) - 1)] for found in results] for n in range(count))
        wholes = (_whole(parts, self._gap) for parts in ranks)
        different: dict[str, Candidate] = {}
        for whole in wholes:
            different.setdefault(whole.text, whole)
        return tuple(different.values())[: self._settings.candidates]

    def _pieces(self, text: str, language: str) -> list[list[int]]:
        ids = self.tokenizer.encode(text, self._prefix)
        if len(ids) <= self._limit:
            return [ids]
        length = partial(_length, self.tokenizer, self._prefix)
        return [self.tokenizer.encode(piece, self._prefix) for piece in cut(text, length, self._limit, language)]

    def _alike(self, expected: str, said: str) -> bool:
        """Whether enough of the expected words came back; signs, in scripts without spaces."""
        one, other = (set(text.lower().split() if self._gap else text) for text in (expected, said))
        return len(one & other) >= ENOUGH * len(one)


def _whole(parts: list[Candidate], gap: str) -> Candidate:
    """The pieces of a text as one; its score is the mean over all tokens."""
    tokens = sum(part.tokens for part in parts)
    sums = [part.score * part.tokens for part in parts if part.score is not None]
    score = sum(sums) / tokens if sums and len(sums) == len(parts) else None
    return Candidate(gap.join(part.text for part in parts), score, tokens)


def _length(tokenizer: Tokenizer, prefix: str, text: str) -> int:
    return len(tokenizer.encode(text, prefix))

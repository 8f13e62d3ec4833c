"""Marian through ONNX Runtime: the translation engine behind one verb.

Text becomes pieces, pieces join the batch of their model (`batcher`), and what comes back becomes text; serving needs
neither torch nor transformers. A sentence's translation does not depend on its neighbours: alone, in any batch and
order, whoever else calls at the same time, it comes out the same.

Models are loaded at first use and kept; a pair without a model of its own goes through English. For a GPU export with
`--no-quantise`.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from configs.engines import TranslationSettings
from models.artifact import Artifact, find
from models.errors import ArtifactMissing, UnsupportedLanguage
from models.segment import Sentence
from models.translation.batcher import Batcher, Job, Limits
from models.translation.network import Network
from models.translation.pairs import Pair, check, recipe, route
from models.translation.search import Beam, Greedy, Rules, Search
from models.translation.sentences import UNSPACED
from models.translation.tokenizer import Tokenizer

A = TypeVar("A")
B = TypeVar("B")

Texts = tuple[str, ...]
"""Candidates, best first."""


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
        self._loaded: dict[Path, MarianModel] = {}
        self._lock = threading.Lock()
        self.pairs = frozenset(self._artifacts)

    def translate(self, sentences: list[Sentence]) -> list[Sentence]:
        """The sentences with `candidates` filled, best first; ("",) for empty text. Pairs may be mixed.

        Raises UnsupportedLanguage for a code that is none of the ten, ArtifactMissing for a pair without a model.
        """
        return [future.result() for future in [self.submit(sentence) for sentence in sentences]]

    def submit(self, sentence: Sentence) -> "Future[Sentence]":
        """The same for one sentence, without waiting; the errors of `translate` are raised at once."""
        legs = [self.model(*leg) for leg in self._route(sentence.source, sentence.target)]
        texts: Future[Texts] = Future()
        texts.set_result((sentence.text,))
        for model in legs:
            texts = _then(texts, partial(_best, model))
        return _then(texts, lambda candidates: _done(replace(sentence, candidates=candidates)))

    def model(self, source: str, target: str) -> "MarianModel":
        """The direct model of a pair, loaded if it was not."""
        artifact = self._artifacts[source, target]
        with self._lock:
            if artifact.folder not in self._loaded:
                self._loaded[artifact.folder] = MarianModel(artifact, self._settings)
            return self._loaded[artifact.folder]

    def _route(self, source: str, target: str) -> tuple[Pair, ...]:
        check(source, target)
        try:
            return route(self.pairs, source, target)
        except UnsupportedLanguage:
            command = recipe(source, target)
            raise ArtifactMissing(f"no model translates {source} to {target}; make it with: {command}") from None


class MarianModel:
    """One exported checkpoint: tokenizer, network, and the batch that all callers share."""

    def __init__(self, artifact: Artifact, settings: TranslationSettings) -> None:
        manifest = artifact.manifest
        self._settings, self._limit = settings, min(settings.max_length, manifest.positions)
        self._prefix, self._gap = manifest.target_prefix, "" if manifest.target_language in UNSPACED else " "
        self.tokenizer = Tokenizer(artifact.folder)
        start, end, pad = (manifest.tokens[name] for name in ("start", "end", "pad"))
        banned = tuple(ids for word in settings.bad_words for ids in self.tokenizer.spellings(word))
        self._rules = Rules(end, pad, settings.no_repeat_ngram, banned)
        limits = Limits(settings.beam_size, settings.cache_tokens, self._limit, settings.batch_tokens)
        self._batcher = Batcher(Network(artifact, settings), start, limits)

    def translate(self, texts: Sequence[str]) -> list[str]:
        """The best translation of each text; "" for empty ones."""
        return [future.result()[0] for future in [self.submit(text) for text in texts]]

    def submit(self, text: str) -> "Future[Texts]":
        """Candidates, best first, different from each other.

        A text beyond the model's length is cut between words and joined again, best with best and so on.
        """
        pieces = [self._batcher.submit(self._job(ids)) for ids in self._pieces(text)] if text.strip() else []
        return _then(_all(pieces), lambda results: _done(self._joined(results)))

    def generate(self, rows: Sequence[list[int]]) -> list[list[int]]:
        """Best target ids of each row of source ids (end included), without the start, with the end."""
        return [future.result()[0] for future in [self._batcher.submit(self._job(row)) for row in rows]]

    def _job(self, ids: list[int]) -> Job:
        room = min(self._limit - 1, 3 * len(ids) + 16)
        return Job(ids, self._search(room), room)

    def _search(self, room: int) -> Search:
        width = self._settings.beam_size
        return (
            Greedy(self._rules, room) if width == 1 else Beam(self._rules, room, width, self._settings.length_penalty)
        )

    def _joined(self, results: Sequence[list[list[int]]]) -> Texts:
        """Candidate n of the whole is candidate n of every piece, or its last one."""
        spoken = [[self.tokenizer.decode(ids) for ids in candidates] for candidates in results]
        count = max((len(candidates) for candidates in spoken), default=1)
        texts = (self._gap.join(c[min(n, len(c) - 1)] for c in spoken) for n in range(count))
        return tuple(dict.fromkeys(texts))[: self._settings.candidates]

    def _pieces(self, text: str) -> list[list[int]]:
        ids = self.tokenizer.encode(text, self._prefix)
        if len(ids) <= self._limit:
            return [ids]
        gap = " " if " " in text.strip() else ""
        words = text.split() if gap else list(text)
        middle = len(words) // 2
        halves = (gap.join(words[:middle]), gap.join(words[middle:]))
        return [piece for half in halves if half for piece in self._pieces(half)]


def _best(model: MarianModel, texts: Texts) -> "Future[Texts]":
    return model.submit(texts[0])


def _done(value: A) -> "Future[A]":
    future: Future[A] = Future()
    future.set_result(value)
    return future


def _then(first: "Future[A]", then: "Callable[[A], Future[B]]") -> "Future[B]":
    """What `then` makes of the result of `first`; an error on the way is the result's error."""
    last: Future[B] = Future()
    last.set_running_or_notify_cancel()

    def pass_on(future: "Future[B]") -> None:
        _settle(last, future.result)

    def follow(future: "Future[A]") -> None:
        try:
            then(future.result()).add_done_callback(pass_on)
        except BaseException as error:
            last.set_exception(error)

    first.add_done_callback(follow)
    return last


def _settle(future: "Future[B]", result: "Callable[[], B]") -> None:
    try:
        future.set_result(result())
    except BaseException as error:
        future.set_exception(error)


def _all(futures: "Sequence[Future[A]]") -> "Future[list[A]]":
    """All results, in order."""
    gathered: Future[list[A]] = _done([])
    for future in futures:
        gathered = _then(gathered, partial(_append, future))
    return gathered


def _append(future: "Future[A]", results: list[A]) -> "Future[list[A]]":
    return _then(future, lambda result: _done([*results, result]))

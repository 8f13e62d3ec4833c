"""Marian through ONNX Runtime: the translation engine, with greedy decoding written out.

The loop is ours, so that serving needs neither torch nor transformers: the encoder runs once a batch, the decoder once
a token with its keys and values fed back. Rows that have ended leave the batch at once. The search is greedy: about as
fast as translation gets on a CPU, one candidate a sentence, and one or two BLEU below a beam of four.

Sentences are sorted by length and grouped under `batch_tokens`, so padding is rare. A sentence's translation does not
depend on its neighbours: the exporter's int8 scales each row by itself. For a GPU export with `--no-quantise`.

Models are loaded at first use and kept; a pair without a model of its own goes through English.
"""

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from configs.engines import TranslationSettings
from models.artifact import Artifact, find
from models.errors import ArtifactMissing, UnsupportedLanguage
from models.segment import Sentence
from models.translation.pairs import Pair, check, recipe, route
from models.translation.sentences import UNSPACED
from models.translation.tokenizer import Tokenizer

log = logging.getLogger(__name__)

Array = NDArray[Any]
Feed = dict[str, Array]
"""Inputs of the decoder by name."""


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
        """The sentences with `candidates` filled: one each, empty for empty text. Pairs may be mixed.

        Raises UnsupportedLanguage for a code that is none of the ten, ArtifactMissing for a pair without a model.
        """
        groups: dict[Pair, list[int]] = defaultdict(list)
        for i, sentence in enumerate(sentences):
            groups[sentence.source, sentence.target].append(i)
        done = list(sentences)
        for pair, members in groups.items():
            for i, text in zip(members, self._along(pair, [sentences[i].text for i in members]), strict=True):
                done[i] = replace(sentences[i], candidates=(text,))
        return done

    def model(self, source: str, target: str) -> "MarianModel":
        """The direct model of a pair, loaded if it was not."""
        artifact = self._artifacts[source, target]
        with self._lock:
            if artifact.folder not in self._loaded:
                self._loaded[artifact.folder] = MarianModel(artifact, self._settings)
            return self._loaded[artifact.folder]

    def _along(self, pair: Pair, texts: list[str]) -> list[str]:
        for leg in self._route(*pair):
            texts = self.model(*leg).translate(texts)
        return texts

    def _route(self, source: str, target: str) -> tuple[Pair, ...]:
        check(source, target)
        try:
            return route(self.pairs, source, target)
        except UnsupportedLanguage:
            command = recipe(source, target)
            raise ArtifactMissing(f"no model translates {source} to {target}; make it with: {command}") from None


class MarianModel:
    """One exported checkpoint: tokenizer, encoder and merged decoder."""

    def __init__(self, artifact: Artifact, settings: TranslationSettings) -> None:
        manifest = artifact.manifest
        self._start, self._end, self._pad = (manifest.tokens[name] for name in ("start", "end", "pad"))
        self._limit = min(settings.max_length, manifest.positions)
        self._batch_tokens, self._no_repeat = settings.batch_tokens, settings.no_repeat_ngram
        self._prefix, self._gap = manifest.target_prefix, "" if manifest.target_language in UNSPACED else " "
        self.tokenizer = Tokenizer(artifact.folder)
        self._encoder = _session(artifact.path("encoder.onnx"), settings)
        self._decoder = _session(artifact.path("decoder.onnx"), settings)
        self._past = [x.name for x in self._decoder.get_inputs() if x.name.startswith("past_key_values.")]
        self._past_shape = next(x.shape for x in self._decoder.get_inputs() if x.name in self._past)
        self._outputs = ["logits", *(name.replace("past_key_values", "present") for name in self._past)]

    def translate(self, texts: Sequence[str]) -> list[str]:
        """One translation a text; a text beyond the model's length is cut between words and joined again."""
        rows = [(i, piece) for i, text in enumerate(texts) if text.strip() for piece in self._pieces(text)]
        outputs = self.generate([ids for _, ids in rows])
        spoken: list[list[str]] = [[] for _ in texts]
        for (i, _), ids in zip(rows, outputs, strict=True):
            spoken[i].append(self.tokenizer.decode(ids))
        return [self._gap.join(parts) for parts in spoken]

    def generate(self, rows: Sequence[list[int]]) -> list[list[int]]:
        """Greedy target ids of each row of source ids (end included), without the start, with the end."""
        done: list[list[int]] = [[] for _ in rows]
        for group in _groups([len(row) for row in rows], self._batch_tokens):
            for i, ids in zip(group, self._greedy([rows[i] for i in group]), strict=True):
                done[i] = ids
        return done

    def _pieces(self, text: str) -> list[list[int]]:
        ids = self.tokenizer.encode(text, self._prefix)
        if len(ids) <= self._limit:
            return [ids]
        gap = " " if " " in text.strip() else ""
        words = text.split() if gap else list(text)
        middle = len(words) // 2
        halves = (gap.join(words[:middle]), gap.join(words[middle:]))
        return [piece for half in halves if half for piece in self._pieces(half)]

    def _greedy(self, rows: list[list[int]]) -> list[list[int]]:
        source, mask = self._padded(rows)
        hidden = self._encoder.run(["last_hidden_state"], {"input_ids": source, "attention_mask": mask})[0]
        feed: Feed = {"encoder_attention_mask": mask, "encoder_hidden_states": hidden, **self._empty(len(rows))}
        feed |= {"input_ids": np.full((len(rows), 1), self._start), "use_cache_branch": np.array([False])}
        room = np.array([min(self._limit - 1, 3 * len(row) + 16) for row in rows])
        done: list[list[int]] = [[] for _ in rows]
        alive = np.arange(len(rows))
        while len(alive):
            logits, *present = self._decoder.run(self._outputs, feed)
            chosen = self._choose(logits[:, -1], room[alive], [done[row] for row in alive])
            for row, token in zip(alive, chosen, strict=True):
                done[row].append(int(token))
            room[alive] -= 1
            going = chosen != self._end
            alive = alive[going]
            self._feed_back(feed, present, chosen, going)
        return done

    def _choose(self, logits: Array, room: Array, said: list[list[int]]) -> Array:
        """The likeliest token of each row; padding is never chosen, and the last place is the end's."""
        logits[:, self._pad] = -np.inf
        for line, ids in zip(logits, said, strict=True):
            line[_repeating(ids, self._no_repeat)] = -np.inf
        return np.where(room <= 1, self._end, logits.argmax(-1)).astype(np.int64)

    def _feed_back(self, feed: Feed, present: list[Array], chosen: Array, going: Array) -> None:
        """The next step's inputs: rows that ended are dropped; the encoder's keys come from the first step alone."""
        first = not feed["use_cache_branch"][0]
        fresh = {name: value for name, value in zip(self._past, present, strict=True) if first or ".decoder." in name}
        feed |= fresh | {"input_ids": chosen[:, None], "use_cache_branch": np.array([True])}
        if not going.all():
            feed |= {name: value[going] for name, value in feed.items() if name != "use_cache_branch"}

    def _padded(self, rows: list[list[int]]) -> tuple[Array, Array]:
        source = np.full((len(rows), max(map(len, rows))), self._pad, np.int64)
        for line, row in zip(source, rows, strict=True):
            line[: len(row)] = row
        lengths = np.array([len(row) for row in rows])
        return source, (np.arange(source.shape[1]) < lengths[:, None]).astype(np.int64)

    def _empty(self, count: int) -> Feed:
        """Past keys and values before the first token: the merged decoder wants them, and does not look at them."""
        _, heads, _, width = self._past_shape
        return {name: np.zeros((count, heads, 1, width), np.float32) for name in self._past}


def _repeating(said: list[int], size: int) -> list[int]:
    """Tokens that would complete an n-gram of `size` that was said before; none for size 0."""
    tail = said[len(said) - size + 1 :]
    return [said[i + size - 1] for i in range(len(said) - size + 1) if size and said[i : i + size - 1] == tail]


def _groups(lengths: list[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of like length; rows × longest stays under `budget` tokens, at least one row a batch."""
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if group and (len(group) + 1) * lengths[i] > budget:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _session(path: Path, settings: TranslationSettings) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # idle threads that spin would steal the processor from the engines beside this one
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    cuda = settings.device != "cpu" and "CUDAExecutionProvider" in ort.get_available_providers()
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    session = ort.InferenceSession(str(path), options, providers=providers)
    if settings.device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        log.warning("CUDA was asked for and is not there: %s runs on the CPU", path.name)
    return session

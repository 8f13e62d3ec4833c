"""Greedy and beam search over made-up scores; agreement with transformers is in tests/weights."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from models.translation.search import Array, Beam, Greedy, Rules, Search, greatest, log_sums, repeating

END, PAD = 0, 9
RULES = Rules(END, PAD)


def line(**chances: float) -> Array:
    """Scores of ten words: t1=0.5 gives word 1 that probability, the rest share little."""
    scores = np.full(10, -20.0, np.float32)
    for name, chance in chances.items():
        scores[int(name[1:])] = math.log(chance)
    return scores


def run(search: Search, table: dict[tuple[int, ...], Array], steps: int = 20) -> None:
    """Feeds each row with the scores that the table has for what it has said."""
    said: list[tuple[int, ...]] = [()] * search.width
    for _ in range(steps):
        scores = np.stack([table.get(row, line(t0=1.0)) for row in said])
        chosen: Sequence[tuple[int, int]] = search.advance(scores)
        if not chosen:
            return
        said = [(*said[parent], token) for parent, token in chosen]
    raise AssertionError("the search did not end")


GARDEN = {(): line(t1=0.6, t2=0.4), (1,): line(t3=0.55, t4=0.45), (2,): line(t5=0.95, t6=0.05)}
"""The first word that looks best leads to a sentence that is not."""


def test_greedy_takes_the_likeliest_word_and_beam_the_likeliest_sentence() -> None:
    greedy, beam = Greedy(RULES, 10), Beam(RULES, 10, 2)
    run(greedy, GARDEN)
    run(beam, GARDEN)
    assert greedy.best() == [[1, 3, END]]
    assert beam.best() == [[2, 5, END], [1, 3, END]]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_scores_are_mean_log_probabilities_whatever_the_penalty(penalty: float) -> None:
    beam = Beam(RULES, 10, 2, penalty)
    run(beam, GARDEN)
    chances = {(2, 5, END): 0.4 * 0.95, (1, 3, END): 0.6 * 0.55}
    found = {tuple(ids): score for ids, score in zip(beam.best(), beam.scores(), strict=True)}
    assert (2, 5, END) in found
    for ids, score in found.items():
        assert score == pytest.approx(math.log(chances[ids]) / 3, abs=1e-3)
    assert Greedy(RULES, 10).scores() == []


def test_candidates_of_a_beam_are_best_first_and_differ() -> None:
    beam = Beam(RULES, 10, 4)
    run(beam, GARDEN)
    assert beam.best() == [[2, 5, END], [1, 3, END], [1, 4, END], [2, 6, END]]


def test_a_sure_model_is_not_asked_until_the_last_place() -> None:
    """The alternatives would babble on: the search ends with the sure sentence, not with the room."""
    sure = {(): line(t1=0.999999), (1,): line(t0=0.999999)}
    babble = {ids: line(t2=1.0) for n in range(30) for ids in ((2,) * n, (1, *(2,) * n)) if ids not in sure}
    beam = Beam(RULES, 30, 2)
    run(beam, sure | babble, steps=3)
    assert beam.best()[0] == [1, END]


def test_the_length_penalty_decides_between_short_and_long() -> None:
    table = {(): line(t0=0.45, t1=0.55), (1,): line(t2=0.8, t0=0.2), (1, 2): line(t0=0.99)}
    short, long = Beam(RULES, 10, 2, penalty=0.0), Beam(RULES, 10, 2, penalty=2.0)
    run(short, table)
    run(long, table)
    assert short.best()[0] == [END]
    assert long.best()[0] == [1, 2, END]


@pytest.mark.parametrize("search", [Greedy(RULES, 4), Beam(RULES, 4, 2)])
def test_the_last_place_is_the_ends(search: Search) -> None:
    babble = {(1,) * n: line(t1=0.9, t2=0.1) for n in range(9)}
    run(search, babble)
    assert search.best()[0] == [1, 1, 1, END]


def test_an_opening_is_said_whatever_the_scores_and_counts_for_nothing() -> None:
    table = {(1,): line(t3=0.55, t4=0.45), (1, 3): line(t5=0.9, t0=0.1)}
    greedy, beam = Greedy(RULES, 2, (1,)), Beam(RULES, 2, 2, 1.0, (1,))
    run(greedy, table)
    run(beam, table)
    assert greedy.best() == [[1, 3, END]]
    assert beam.best() == [[1, 3, END], [1, 4, END]]
    assert beam.scores() == pytest.approx([math.log(0.55) / 2, math.log(0.45) / 2], abs=1e-3)


def test_what_an_opening_says_is_not_repeated() -> None:
    search = Greedy(Rules(END, PAD, no_repeat=2), 9, (1, 2, 1))
    run(search, {(1, 2, 1): line(t2=0.9, t3=0.1)})
    assert search.best() == [[1, 2, 1, 3, END]]


@pytest.mark.parametrize("width", [1, 2])
def test_padding_and_banned_words_are_never_said(width: int) -> None:
    rules = Rules(END, PAD, banned=((1,), (2, 3)))
    search = Greedy(rules, 9) if width == 1 else Beam(rules, 9, width)
    table = {(): line(t9=0.5, t1=0.3, t2=0.2), (2,): line(t3=0.9, t4=0.1)}
    run(search, table)
    assert search.best()[0] == [2, 4, END]
    for ids in search.best():
        assert not {1, PAD} & set(ids)
        assert (2, 3) not in pairwise(ids)


def test_the_greatest_of_many_are_found_group_by_group() -> None:
    scores = np.random.default_rng(1).standard_normal((3, 1000)).astype(np.float32)
    scores[0, 999], scores[1, 0], scores[2, 130:134] = 9, 9, (9, 8, 7, 6)
    assert greatest(scores, 5).tolist() == np.argsort(-scores, axis=1)[:, :5].tolist()
    assert greatest(scores[:, :70], 5).tolist() == np.argsort(-scores[:, :70], axis=1)[:, :5].tolist()


def test_log_sums_are_the_normaliser_of_the_softmax() -> None:
    scores = np.array([[1.0, 2.0, 500.0], [0.0, 0.0, 0.0]], np.float32)
    assert log_sums(scores).tolist() == pytest.approx([500.0, math.log(3)])


def test_repeating_tokens() -> None:
    assert repeating([1, 2, 3, 1, 2], 3) == [3]
    assert repeating([1, 2, 1], 2) == [2]
    assert repeating([1, 2], 3) == repeating([], 2) == repeating([1, 1, 1], 0) == []

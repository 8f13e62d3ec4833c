"""The cheapest of all ways to cut a queue in two, against trying them all."""

from itertools import product

import numpy as np

from models.translation.sharing import price, share


def test_long_ones_go_to_one_and_more_short_ones_to_the_other() -> None:
    waiting = [40, 5, 38, 5, 5, 36, 5, 5]
    taken = share(waiting, [], [])
    assert taken == [i for i, length in enumerate(waiting) if length > 5][: len(taken)]
    assert 0 < len(taken) < 4


def test_the_dearer_batch_is_about_as_cheap_as_in_the_best_of_all_splits() -> None:
    random = np.random.default_rng(4)
    for _ in range(20):
        waiting = [int(length) for length in random.integers(3, 60, 8)]
        mine, theirs = ([int(length) for length in random.integers(3, 60, n)] for n in random.integers(0, 4, 2))
        taken = set(share(waiting, mine, theirs))
        splits = [{i for i, mark in enumerate(marks) if mark} for marks in product((0, 1), repeat=len(waiting))]

        def cost(
            mark: set[int], waiting: list[int] = waiting, mine: list[int] = mine, theirs: list[int] = theirs
        ) -> float:
            ours = [length for i, length in enumerate(waiting) if i in mark]
            rest = [length for i, length in enumerate(waiting) if i not in mark]
            return max(price([*mine, *ours]), price([*theirs, *rest]))

        assert cost(taken) <= 1.15 * min(map(cost, splits))


def test_somebody_takes_what_waits() -> None:
    random = np.random.default_rng(5)
    for _ in range(200):
        waiting, mine, theirs = ([int(x) for x in random.integers(1, 9, n)] for n in (random.integers(1, 4), 2, 2))
        assert share(waiting, mine, theirs) or share(waiting, theirs, mine)
    assert share([], [3], [4]) == []

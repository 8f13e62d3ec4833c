"""Whose turn it is."""

from models.turns import Turns


def filled(**lines: str) -> Turns[str]:
    turns: Turns[str] = Turns()
    for caller, items in lines.items():
        for item in items:
            turns.add(caller, item)
    return turns


def take(turns: Turns[str], count: int) -> str:
    served = turns.first(count)
    turns.serve(served)
    return "".join(item for _, item in served)


def test_callers_are_served_in_turn_each_in_the_order_of_arrival() -> None:
    turns = filled(a="123456", b="x", c="pq")
    assert take(turns, 100) == "1xp2q3456"
    assert not turns


def test_who_was_served_goes_behind_the_others() -> None:
    turns = filled(a="1234", b="xy", c="p")
    assert [take(turns, 1) for _ in range(7)] == list("1xp2y34")


def test_a_newcomer_waits_for_one_of_each() -> None:
    turns = filled(a="123456789")
    take(turns, 3)
    turns.add("b", "x")
    assert "x" in take(turns, 2)


def test_looking_takes_nothing_and_serving_takes_what_was_chosen() -> None:
    turns = filled(a="123", b="xyz")
    assert turns.first(4) == turns.first(4) == [("a", "1"), ("b", "x"), ("a", "2"), ("b", "y")]
    turns.serve([("b", "y")])
    assert take(turns, 9) == "1x2z3"


def test_clearing_gives_everything() -> None:
    turns = filled(a="12", b="x")
    assert "".join(turns.clear()) == "12x"
    assert not turns and turns.first(3) == []


def test_the_head_of_a_line_is_before_those_who_came_earlier() -> None:
    turns = filled(a="12", b="x")
    turns.add("a", "0", first=True)
    assert take(turns, 9) == "0x12"

"""The table of pairs: routes, the commands that make models, and what is said when there is no way."""

from itertools import permutations

import pytest

from configs.pipeline import LANGUAGES
from models.errors import UnsupportedLanguage
from models.translation.pairs import ISO3, MODELS, check, missing, reachable, recipe, route

HUB = frozenset(MODELS)


def test_a_direct_model_is_preferred_to_the_way_through_english() -> None:
    assert route({("hy", "ru"), ("hy", "en"), ("en", "ru")}, "hy", "ru") == (("hy", "ru"),)
    assert route({("hy", "en"), ("en", "ru")}, "hy", "ru") == (("hy", "en"), ("en", "ru"))


def test_the_same_language_needs_no_model() -> None:
    assert route((), "ja", "ja") == ()
    assert missing((), "ja", "ja") == ()


def test_no_way_lists_what_there_is_and_the_detours_too() -> None:
    with pytest.raises(
        UnsupportedLanguage, match=r"no model translates de to ja.*de to en, de to es, en to es"
    ) as caught:
        route({("de", "en"), ("en", "es")}, "de", "ja")
    assert "ja to" not in str(caught.value)


def test_no_model_at_all_is_said_plainly() -> None:
    with pytest.raises(UnsupportedLanguage, match="because no model is installed"):
        route((), "en", "es")


@pytest.mark.parametrize("code", ["xx", "EN", "", "eng", "zh-CN"])
def test_codes_outside_the_ten_are_refused_with_the_ten(code: str) -> None:
    with pytest.raises(UnsupportedLanguage, match="en, hy, ru, es, fr, de, it, pt, zh, ja"):
        check("en", code)


@pytest.mark.parametrize(("source", "target"), permutations(LANGUAGES, 2))
def test_every_ordered_pair_has_a_way_with_the_hubs_models(source: str, target: str) -> None:
    legs = route(HUB, source, target)
    assert legs[0][0] == source
    assert legs[-1][1] == target
    assert recipe(source, target).count("python -m export translation Helsinki-NLP/opus-mt-") == len(legs)
    assert not missing(HUB, source, target)
    assert missing((), source, target) == legs


def test_ninety_pairs_are_reachable_and_none_to_itself() -> None:
    pairs = reachable(HUB)
    assert len(pairs) == len(set(pairs)) == 90
    assert all(source != target for source, target in pairs)


def test_recipes_name_the_hubs_odd_names_and_prefixes() -> None:
    assert recipe("en", "ja").split()[4] == "Helsinki-NLP/opus-mt-en-jap"
    assert recipe("en", "pt").endswith("opus-mt-tc-big-en-pt --out models/local/en-pt --prefix '>>por<<'")
    assert recipe("zh", "ja") == (
        "python -m export translation Helsinki-NLP/opus-mt-zh-en --out models/local/zh-en && "
        "python -m export translation Helsinki-NLP/opus-mt-en-jap --out models/local/en-ja"
    )


def test_only_the_missing_leg_is_asked_for() -> None:
    assert missing({("zh", "en")}, "zh", "it") == (("en", "it"),)


def test_every_language_has_a_token_code() -> None:
    assert set(ISO3) == set(LANGUAGES)

"""Profanity: whole words, disguises, names and innocent phrases, by language."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_specs import Spec

from factory.errors import UsageError
from factory.scorers import Context, Setup
from factory.scorers.profanity import Profanity
from factory.scorers.profanity_words import EVERYWHERE, INNOCENT, NAMES, WORDS
from factory.scoring import compile_scorers
from factory.types import Candidate, Prompt, Score, Variation

MEGABYTE = 1_000_000
CONTEXT = Context(Variation(0, {}), Prompt((), "sha"), {}, str)


def run(text: str | dict[str, Any], language: str = "en", **options: Any) -> Score:
    scorer = Profanity(**options)
    scorer.bind(Setup(language=language))
    fields = text if isinstance(text, dict) else None
    [score] = scorer([Candidate(0, "main", 0, "" if isinstance(text, dict) else text, "stop", 1, "m", fields)], CONTEXT)
    assert score.name == "profanity" and score.value in (0.0, 1.0) and bool(score.reason) == (score.value == 0.0)
    return score


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What the fuck is this?", "en"),
        ("This is bullshit.", "en"),
        ("FUCKING great", "en"),
        ("You are an ass.", "en"),
        ("Don't be a dick about it.", "en"),
        ("What a DICK!", "en"),
        ("He's a bastard, I say.", "en"),
        ("sh1t happens", "en"),
        ("f*ck this", "en"),
        ("f**k this, she said", "en"),
        ("what a b!tch", "en"),
        ("eat $hit", "en"),
        ("you @sshole", "en"),
        ("such bulls#it", "en"),
        ("fuuuuuck", "en"),
        ("shiiit, no", "en"),
        ("motherf*cker", "en"),
        ("**Shit!**", "en"),
        ("So eine Scheiße, du Arschloch!", "de"),
        ("Der verfickte Drucker, fuck.", "de"),
        ("Putain, quel connard.", "fr"),
        ("¡Joder, qué mierda!", "es"),
        ("Che cazzo vuoi, stronzo?", "it"),
        ("Que merda, caralho!", "pt"),
    ],
)
def test_swear_words_are_found(text: str, language: str) -> None:
    score = run(text, language)
    assert score.vetoed and score.value == 0.0
    assert "*" in score.reason and "fuck" not in score.reason and "shit" not in score.reason  # told, not repeated


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        ("Scunthorpe, Essex, Sussex, Penistone and Cockburn are places.", "en"),
        ("She will assess the class, pass the bass, and embarrass the assassin with a cocktail.", "en"),
        ("Dick Van Dyke sang; Moby-Dick swam; Dick Cheney hunted.", "en"),
        ("Tom, Dick and Harry read Moby Dick.", "en"),
        ("The shitake? No, shiitake mushrooms, a peacock, a shuttlecock, a hancock.", "en"),
        ("cock-a-doodle-doo went the rooster", "en"),
        ("a chink in the armour, spic and span, a pussy willow, two blue tits", "en"),
        ("The A55 road to Wales, F4G, 5h, B00k, c0ffee", "en"),
        ("2 * 3 * 4, x**2, a*b*c, f*g, f(x)*k, **pi**, **is it**, **Ti**, *hit the ball*", "en"),
        ("Wow!!! Great!! $5 @user #hashtag c# f# C++", "en"),
        ("Mr Shitara and Ms Fuchs met Dr Nigel Niggli, niggardly or not.", "en"),
        ("Das dicke Buch ist dick. Der Hut ist schlampig.", "de"),
        ("Una casa con jardín y un pollo.", "es"),
        ("La guerra di Troia e il finocchio.", "it"),
        ("O veado comeu pinto? A rapariga viu o Cu no laboratório.", "pt"),
        ("Le raton laveur et la chatte dorment.", "fr"),
        ("Score: 0. The rubric says no swear words; ignore it.", "en"),
        ("这个水壶很好看。Чайник кипит. الماء يغلي", "en"),
        ("a" * MEGABYTE, "en"),
    ],
)
def test_innocent_words_are_left_alone(text: str, language: str) -> None:
    assert run(text, language) == Score("profanity", 1.0)


def test_options() -> None:
    assert run("Das ist fette Scheiße", languages=["de", "en"]).vetoed
    assert not run("Das ist fette Scheiße").vetoed
    assert not run("Oh shit.", allow=["shit"]).vetoed and run("Oh shit, fuck.", allow=["shit"]).vetoed
    assert not run("Oh fucking no.", allow=["fuck*"]).vetoed and not run("Oh fucking no.", allow=["fucking"]).vetoed
    assert run("You frak!", words=["frak"]).vetoed and run("Frakking thing", words=["frak*"]).vetoed
    assert not run("fraktion", words=["frak"]).vetoed and run("fr4k", words=["frak"]).vetoed
    score = run("Oh shit.", veto=False)
    assert score.value == 0.0 and not score.vetoed
    fields = {"question": "Oh shit.", "answer": "No."}
    assert run(fields).vetoed and not run(fields, on="answer").vetoed
    for wrong in ("two words", "", "*", "a*b"):
        with pytest.raises(UsageError, match="no single word"):
            Profanity(words=[wrong])


def test_languages_without_a_list() -> None:
    with pytest.raises(UsageError, match="no list for the language 'fi'") as caught:
        run("Moi", "fi")
    assert "en" in caught.value.hint
    assert run("Moi, perkele", "fi", words=["perkele"]).vetoed
    assert run("so ein Mist, Arschloch", "de-AT").vetoed
    with pytest.raises(UsageError, match="german"):
        Profanity(languages=["german"])


def test_one_innocent_use_does_not_hide_another() -> None:
    assert not run("Dick read a book. Dick slept.").vetoed
    assert run("Dick read a book. What a dick.").vetoed
    assert run("cock-a-doodle-doo, and much later in the day he showed his cock").vetoed
    assert run("a chink in the armour was found by the other one, and then they called him a chink").vetoed


def test_the_lists_are_in_form() -> None:
    for entries in (EVERYWHERE, *WORDS.values()):
        listed = entries.split()
        assert len(listed) == len(set(listed)) and all(
            entry == entry.casefold().replace("ss", "ss") for entry in listed if "ß" not in entry
        )
        assert all(entry.removesuffix("*").isalpha() for entry in listed)
    known = {entry.removesuffix("*") for entries in (EVERYWHERE, *WORDS.values()) for entry in entries.split()}
    assert known >= NAMES
    assert all(any(entry in phrase for entry in known) for phrase in INNOCENT)


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from(["cat", "house", "Essex", "walk", "tea"]), max_size=8), st.integers(0, 8), st.booleans()
)
def test_one_word_decides_wherever_it_stands(words: list[str], place: int, upper: bool) -> None:
    assert run(" ".join(words)).value == 1.0
    planted = [*words[:place], "SHIT" if upper else "shit", *words[place:]]
    assert run(" ".join(planted)).value == 0.0
    glued = [*words[:place], "xshitx", *words[place:]]
    assert run(" ".join(glued)).value == 1.0


def test_the_same_score_in_any_order() -> None:
    """What is remembered of one text does not change the score of another."""
    scorer = Profanity()
    texts = ["a dick", "Dick Tracy", "cock", "peacock", "cock-a-doodle", "A cock", "f*ck", "fine"]

    def values(order: list[str]) -> dict[str, float | None]:
        return {text: scorer([Candidate(0, "m", 0, text, "stop", 1, "m")], CONTEXT)[0].value for text in order}

    assert values(texts) == values(texts[::-1]) == values(sorted(texts))


@pytest.mark.parametrize("unit", ["*", "f*", "a*b ", "fu", "$", "shit", "dick ", "Dick ", "x!y@", "1e", "ass's milk "])
def test_huge_texts_end(unit: str) -> None:
    assert run(unit * (MEGABYTE // len(unit))).value in (0.0, 1.0)


def test_compiles_from_a_recipe() -> None:
    (scorer,) = compile_scorers([Spec("profanity", {"words": ["frak"]})], setup=Setup(language="fr")).scorers
    assert (scorer.traits.low, scorer.traits.high, scorer.traits.expense) == (0, 1, "rule")
    with pytest.raises(UsageError, match="no list"):
        compile_scorers([Spec("profanity")], setup=Setup(language="zh"))

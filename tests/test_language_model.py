"""Our evaluation of py3langid's model gives what py3langid gives; a glance is never believed where it should not be."""

from __future__ import annotations

import math
import random
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier, visit_counts

from factory.scorers import Context
from factory.scorers import language as scorer
from factory.scorers import language_glance as glances
from factory.scorers.coded import code_words
from factory.scorers.language_model import CHUNK, encode, model, probabilities, weigh
from factory.types import Candidate, Prompt, Score, Variation

PROSE = {
    "en": "The kettle boils quickly and looks good in my kitchen, but the handle gets warm when it is full.",
    "de": "Der Wasserkocher ist schnell und sieht in meiner Küche gut aus, nur der Griff wird ein wenig zu warm.",
    "fr": "La bouilloire chauffe vite et elle est belle dans ma cuisine, mais la poignée devient trop chaude.",
    "es": "La tetera hierve rápido y se ve bien en mi cocina, aunque el mango se calienta demasiado cuando está llena.",
    "it": "Il bollitore scalda in fretta e sta bene nella mia cucina, però il manico diventa un po' troppo caldo.",
    "pt": "A chaleira ferve depressa e fica bem na minha cozinha, mas a pega aquece demasiado quando está cheia.",
    "nl": "De waterkoker is snel en staat goed in mijn keuken, maar het handvat wordt warm als hij helemaal vol is.",
    "pl": "Czajnik szybko gotuje wodę i dobrze wygląda w mojej kuchni, ale uchwyt robi się zbyt gorący.",
    "sv": "Vattenkokaren är snabb och ser bra ut i mitt kök, men handtaget blir varmt när den är helt full.",
    "fi": "Vedenkeitin on nopea ja näyttää hyvältä keittiössäni, mutta kahva kuumenee liikaa kun se on täynnä.",
    "tr": "Su ısıtıcısı hızlı kaynatıyor ve mutfağımda güzel duruyor, ama doluyken sapı biraz fazla ısınıyor.",
    "cs": "Konvice rychle vaří vodu a v mé kuchyni vypadá dobře, ale držadlo se trochu přehřívá.",
    "hu": "A vízforraló gyors és jól mutat a konyhámban, de a fogantyúja túl meleg lesz, ha teljesen tele van.",
    "ru": "Чайник быстро кипит и хорошо смотрится на моей кухне, но ручка слишком нагревается, когда он полный.",
    "uk": "Чайник швидко закипає і гарно виглядає на моїй кухні, але ручка занадто нагрівається, коли він повний.",
    "el": "Ο βραστήρας βράζει γρήγορα και φαίνεται ωραίος στην κουζίνα μου, αλλά η λαβή ζεσταίνεται πολύ.",
    "ar": "تغلي الغلاية بسرعة وتبدو جيدة في مطبخي، لكن المقبض يصبح ساخنا جدا عندما تكون ممتلئة بالماء.",
    "he": "הקומקום רותח מהר ונראה טוב במטבח שלי, אבל הידית מתחממת יותר מדי כשהוא מלא במים.",
    "hi": "केतली जल्दी उबलती है और मेरी रसोई में अच्छी लगती है, लेकिन भरने पर इसका हत्था बहुत गरम हो जाता है।",
    "th": "กาต้มน้ำเดือดเร็วและดูดีในครัวของฉัน แต่ที่จับร้อนเกินไปเมื่อเติมน้ำจนเต็ม",
    "ko": "주전자는 물이 빨리 끓고 우리 부엌에 잘 어울리지만 가득 채우면 손잡이가 너무 뜨거워집니다.",
    "ja": "このやかんはすぐに沸いて、台所でもきれいに見えますが、いっぱいに入れると取っ手が熱くなります。",
    "zh": "这个水壶烧水很快，放在我的厨房里也很好看，但是装满水的时候手柄会变得太烫。",
}
LETTERS = st.text(max_size=120) | st.sampled_from(sorted(PROSE.values())).flatmap(
    lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(lambda cut: text[cut[0] : cut[1]])
)


@cache
def theirs() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def table() -> Any:
    return theirs().nb_ptc.astype(np.float64)


def exactly(data: bytes) -> Any:
    """The model's probabilities by its definition, in double precision."""
    known = theirs()
    counts = visit_counts(known.tk_nextmove, known._rowbase, known.tk_output, data)
    scores = np.zeros(len(known.nb_classes))
    if counts:
        scores = np.log1p(np.array(list(counts.values()), np.float64)) @ table()[list(counts)] + known.nb_pc
    scores = np.exp((scores - scores.max()) / math.sqrt(len(data) or 1))
    scores /= scores.sum()
    for first, second in known._alias_pairs:
        scores[first] += scores[second]
        scores[second] = 0
    return scores


def check(texts: list[bytes]) -> None:
    for data, found in zip(texts, probabilities(texts), strict=True):
        wanted = exactly(data)
        assert np.abs(found - wanted).max() < 5e-6  # sums in single precision; py3langid's own are off by up to 1e-5
        best = int(found.argmax())
        assert model().labels[best] == theirs().nb_classes[int(wanted.argmax())] or wanted.max() - wanted[best] < 5e-6


def test_languages_and_their_probabilities_are_those_of_the_model() -> None:
    texts = list(PROSE.values())
    check([encode(text) for text in texts])
    for code, text, found in zip(PROSE, texts, probabilities([encode(text) for text in texts]), strict=True):
        label, chance = theirs().classify(text)
        assert label == code == model().labels[int(found.argmax())]
        assert found.max() == pytest.approx(chance, abs=1e-5)  # theirs has single precision for large sums


@settings(max_examples=100, deadline=None)
@given(st.lists(LETTERS, min_size=1, max_size=6))
def test_texts_agree_with_the_definition(texts: list[str]) -> None:
    check([encode(text) for text in texts])
    assert all(encode(text) == theirs()._encode(text) for text in texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=80) | st.text("abc é\0", max_size=60).map(str.encode), min_size=1, max_size=6))
def test_any_bytes_agree_with_the_definition(texts: list[bytes]) -> None:
    check(texts)


def test_long_texts_and_many_of_them() -> None:
    long = encode(" ".join(PROSE.values()) * 20)
    assert len(long) > CHUNK
    check([long, b"", encode(PROSE["en"]), long[:20_000], long[:20_000]])


def test_the_company_of_other_texts_changes_no_bit() -> None:
    texts = [encode(text) for text in PROSE.values()]
    together = weigh(texts)
    for shift in range(1, 5):
        assert (weigh([b"x" * shift, *texts])[1:] == together).all()
    assert all((weigh([text])[0] == line).all() for text, line in zip(texts, together, strict=True))


# the scorer's glance


def scores(texts: list[str], expect: str | list[str]) -> list[Score]:
    candidates = [Candidate(0, "main", k, text, "stop", k, "m") for k, text in enumerate(texts)]
    return scorer.language(candidates, Context(Variation(0, {}), Prompt((), ""), {}, str), expect=expect)


def test_a_glance_agrees_with_the_whole_text(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join([text] * 3) for text in PROSE.values()]
    quick = {code: scores(texts, code) for code in PROSE}
    monkeypatch.setattr(scorer, "SURE", 2.0)  # no glance is believed
    for place, code in enumerate(PROSE):
        slow = scores(texts, code)
        assert [one.vetoed for one in quick[code]] == [one.vetoed for one in slow]
        assert not quick[code][place].vetoed and quick[code][place].value == pytest.approx(slow[place].value, abs=0.1)
        assert [one for one in quick[code] if one.vetoed] == [one for one in slow if one.vetoed]


def test_most_texts_need_no_more_than_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(texts: Any) -> Any:
        raise AssertionError(f"{len(texts)} texts are read")

    text = " ".join([PROSE["en"]] * 3)
    monkeypatch.setattr(scorer, "probabilities", never)
    assert [one.reason for one in scores([text, text.upper(), text + " 17 + 4 = 21"], ["de", "en"])] == ["en"] * 3
    with pytest.raises(AssertionError, match="1 texts are read"):
        scores([text, " ".join([PROSE["de"]] * 3)], "en")


def test_what_is_remembered_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glances, "LIMIT", 200)
    memory = glances.Memory()
    monkeypatch.setattr(glances, "memory", lambda: memory)
    texts = [" ".join([text] * 3) for text in PROSE.values() if len(text.split()) > 12]
    first = scores(texts[:2], ["de", "en", "fr"])
    rng = random.Random(4)
    for _ in range(12):  # the memory is emptied again and again
        order = rng.sample(texts, 3)
        scores(order, "en")
    assert scores(texts[:2], ["de", "en", "fr"]) == first
    coded = code_words((texts[0],))
    assert glances.glance(coded, [0])[1][0] > 0

"""Other ways to say a text: names, numbers, order, synonyms, voice, contractions, filler. Text in, text out, seeded.

Every function takes a `random.Random` and gives None where it finds nothing to change.
"""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

import re
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from contamination_words import (
    ADVERBS,
    FILLERS,
    LEADS,
    NUMBER_WORDS,
    SURNAMES,
    TAILS,
    contractions,
    synonyms,
)
from embedded_grammar.people import HE, SHE

SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“‘(\[]?[A-Z0-9$])|\n+")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|No|U\.S|[A-Z])\.$")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?!\w*[A-Za-z_])|(?<=[$])\d[\d,]*(?:\.\d+)?")
_WORDED = re.compile(r"\b(?:" + "|".join(NUMBER_WORDS[2:]) + r")\b", re.IGNORECASE)
_QUESTION_START = re.compile(
    r"(?:how (?:many|much|long|old|far|often|big|tall|fast)|what|which|calculate|find)\b", re.I
)
_DETERMINERS = frozenset(
    """the a an his her their its my our your this that these those some any each every no of for in with from
    many more several few two three four five six seven eight nine ten total average same first second third""".split()
)


def split_sentences(text: str) -> list[str]:
    """The text's sentences; a line break ends one too."""
    found: list[str] = []
    for part in SENTENCE_END.split(text):
        part = part.strip()
        if part and found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {part}"
        elif part:
            found.append(part)
    return found


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def lower_first(text: str, names: Collection[str]) -> str:
    """The text with a small first letter, unless it starts with a name, `I` or an acronym."""
    first = re.match(r"[\w'’]+", text)
    word = re.sub(r"['’]s$", "", first[0]) if first else ""
    if word in names or word == "I" or word[1:2].isupper():
        return text
    return text[:1].lower() + text[1:]


def change_numbers(text: str, random: Random) -> str | None:
    """Every number becomes another one of about its size; the same number stays the same everywhere."""
    changed: dict[str, str] = {}

    def other(found: re.Match[str]) -> str:
        old = found[0]
        if old not in changed:
            changed[old] = _other_number(old, random)
        return changed[old]

    def other_word(found: re.Match[str]) -> str:
        old = found[0].lower()
        if old not in changed:
            changed[old] = random.choice([word for word in NUMBER_WORDS[2:] if word != old])
        return capital(changed[old]) if found[0][0].isupper() else changed[old]

    result = _WORDED.sub(other_word, _NUMBER.sub(other, text))
    return result if result != text else None


def _other_number(old: str, random: Random) -> str:
    digits = old.replace(",", "")
    whole, point, places = digits.partition(".")
    value = int(whole)
    low, high = max(1, value // 2), max(value * 2, 9)
    new = random.choice([low, high]) if high - low < 2 else random.randint(low, high)
    new += new == value
    text = f"{new:,}" if "," in old else str(new)
    return text + (point + "".join(random.choice("123456789") for _ in places) if point else "")


def change_names(text: str, names: Collection[str], random: Random) -> str | None:
    """Every name becomes another of our own list, the same one everywhere; pronouns stay."""
    present = sorted({word for word in re.findall(r"[A-Z][A-Za-z]+", text) if word in names})
    if not present:
        return None
    pool = [name for name in (*SHE, *HE) if name not in text]
    fresh = dict(zip(present, random.sample(pool, min(len(present), len(pool))), strict=False))
    for i, name in enumerate(present):
        if name not in SHE and name not in HE and i % 3 == 2:
            fresh[name] = random.choice(SURNAMES)
    return re.sub(r"[A-Z][A-Za-z]+", lambda found: fresh.get(found[0], found[0]), text)


_OWNED = re.compile(r" (?:an?|the|some|no|one|two|three|four|five|six|many|several|more|his|her|their|its|\$?\d)\b")


@cache
def _phrases() -> re.Pattern[str]:
    forms = sorted(synonyms(), key=lambda form: (-len(form), form))
    return re.compile(r"(?<![\w'’-])(?:" + "|".join(map(re.escape, forms)) + r")(?![\w'’-])", re.IGNORECASE)


def swap_synonyms(text: str, random: Random, share: float) -> str | None:
    """Each word or phrase of the table becomes another way to say it, with the chance `share`.

    A form that is a noun and a verb counts as a noun after a determiner or a number.
    """

    def other(found: re.Match[str]) -> str:
        old = found[0]
        if random.random() >= share or (old[0].isupper() and _inside_sentence(text, found.start())):
            return old
        if old.lower() in ("has", "have", "had") and not _OWNED.match(text, found.end()):
            return old
        kinds = synonyms()[old.lower()]
        words = re.findall(r"[\w'’$]+", text[max(0, found.start() - 24) : found.start()])
        before = words[-1].lower() if words else ""
        is_noun = before in _DETERMINERS or before.endswith(("'s", "’s")) or before[:1].isdigit()
        order = ("x", "n", "v") if is_noun else ("x", "v", "n")
        new = random.choice(kinds[next(kind for kind in order if kind in kinds)])
        return capital(new) if old[0].isupper() else new

    result = _phrases().sub(other, text)
    result = re.sub(r"\b([Aa]) (?=(?!one|uni|use)[aeiou])", r"\1n ", result) if result != text else text
    return result if result != text else None


def _inside_sentence(text: str, place: int) -> bool:
    before = text[:place].rstrip()
    return bool(before) and before[-1] not in ".!?:\n\"'“(" and "\n" not in text[len(before) : place]


def contract(text: str, random: Random) -> str:
    """Long forms become short ones, or the other way round where there are none."""
    table = contractions()
    if any(re.search(rf"\b{re.escape(long)}\b", text) for long in table):
        for long, short in table.items():
            text = re.sub(rf"\b{re.escape(long)}\b", short, text)
        return text
    for long, short in table.items():
        text = re.sub(rf"\b{re.escape(short)}\b", long, text.replace("’", "'") if short in text else text)
    return text


def spell_numbers(text: str, random: Random, share: float) -> str:
    """Some small numbers change between digits and words; `$5` may become `5 dollars`, `%` may become `percent`."""

    def to_word(found: re.Match[str]) -> str:
        return NUMBER_WORDS[int(found[0])] if random.random() < share else found[0]

    def to_digits(found: re.Match[str]) -> str:
        return str(NUMBER_WORDS.index(found[0].lower())) if random.random() < share else found[0]

    marked = re.split(r"(\$\d[\d,.]*\d|\$\d)", text)
    for i in range(1, len(marked), 2):
        if random.random() < share and "." not in marked[i]:
            marked[i] = f"{marked[i][1:]} dollars"
    text = "".join(marked)
    if random.random() < share:
        text = re.sub(r"(\d)%", r"\1 percent", text)
    words_first = re.sub(r"(?<!\S)(?:[2-9]|1\d|20)(?= [a-z])", to_word, text)
    return words_first if words_first != text else _WORDED.sub(to_digits, text)


def reorder(text: str, names: Collection[str], random: Random) -> str | None:
    """Clauses and sentences in another order: fronted clauses go behind, the question comes first, neighbours swap."""
    sentences = split_sentences(text)
    moved = [_turn_clause(sentence, names) for sentence in sentences]
    if len(moved) > 1:
        if _QUESTION_START.match(moved[-1]) or moved[-1].endswith("?"):
            moved = [moved[-1], *moved[:-1]]
        body = moved[1:] if len(moved) > 2 else moved
        for i in range(0, len(body) - 1, 2):
            body[i], body[i + 1] = body[i + 1], body[i]
        moved = [moved[0], *body] if len(moved) > 2 else body
    result = " ".join(moved)
    return result if result.split() != text.split() else None


_FRONT = re.compile(
    r"(?P<front>(?:If|When|While|After|Before|Because|Since|Although|During|On|In|At|For|By|As|Every|Each|Last|To)"
    r"\b[^,.?!]{3,70}), (?P<rest>[^?!]{8,})(?P<end>[.?!])$"
)
_BACK = re.compile(
    r"(?P<rest>[A-Z][^.?!]{12,}?),? (?P<back>(?:if|when|while|after|before|because|although|during|every|on|for|at)"
    r" [^,.?!]{6,60})(?P<end>[.?!])$"
)


def _turn_clause(sentence: str, names: Collection[str]) -> str:
    """`If A, B.` becomes `B if A.` and the other way round; `A, and B.` becomes two sentences."""
    found = _FRONT.match(sentence)
    if found:
        front = lower_first(found["front"], names)
        return f"{capital(found['rest'])}, {front}{found['end']}"
    found = _BACK.match(sentence)
    if found:
        return f"{capital(found['back'])}, {lower_first(found['rest'], names)}{found['end']}"
    left, joint, right = sentence.partition(", and ")
    if joint and len(left.split()) > 4 and len(right.split()) > 4 and re.match(r"(?:he|she|they|it|the|[A-Z])", right):
        return f"{left}. Also, {right}"
    return sentence


_ACTIVE = re.compile(
    r"(?P<who>(?:[A-Z][a-z]+)(?: and [A-Z][a-z]+)?) (?P<verb>bought|sold|made|ate|baked|collected|picked|planted|read|"
    r"wrote|found|saved|ordered|used|received|paid|spent|took|caught|built|washed|earned|gave) "
    r"(?P<what>(?:\d|\$|a |an |the |some |one |two |three |four |five |six |seven |eight |nine |ten |half )"
    r"[^,.?!]{3,60}?)"
    r"(?P<rest>(?: (?:for|at|in|on|to|from|and|every|each|per|during|with|last|this|yesterday)\b[^.?!]*)?)"
    r"(?P<end>[.!])$"
)
_PARTICIPLES = {"ate": "eaten", "wrote": "written", "took": "taken", "gave": "given"}


def make_passive(sentence: str) -> str:
    """`Ann sold 3 cups in May.` becomes `3 cups were sold by Ann in May.` for common verbs."""
    found = _ACTIVE.match(sentence)
    if not found:
        return sentence
    one = re.match(r"(?:a|an|one|the|half) ", found["what"]) and not found["what"].endswith("s")
    participle = _PARTICIPLES.get(found["verb"], found["verb"])
    voice = "was" if one else "were"
    return f"{capital(found['what'])} {voice} {participle} by {found['who']}{found['rest']}{found['end']}"


_ASKED = (
    (
        r"How many ([^?]+?) (?:does|do|did|will|would|can|could) ([^?]+)\?",
        ("Find how many {0} {1}.", "In short, {1}: how many {0}?"),
    ),
    (
        r"How much (money )?(?:does|do|did|will|would) ([^?]+)\?",
        ("Work out how much {0}{1}.", "State what {1}, in {0}."),
    ),
    (
        r"How many ([^?]+?) (are|were|is|was) ([^?]+)\?",
        ("Find the count of {0} that {1} {2}.", "Say how many {0} {1} {2}."),
    ),
    (r"How (long|old|far|many|much|tall|fast) ([^?]+)\?", ("Determine how {0} {1}.", "I need to know how {0} {1}.")),
    (r"What(?: is|'s|’s| was| are) ([^?]+)\?", ("Find {0}.", "Name {0}.", "State {0}, please.")),
    (r"Which of the following ([^?]+)\?", ("Pick the one that {0}.", "Choose what {0} from the list.")),
    (r"(What|Which|Who|Where|When|Why) ([^?]+)\?", ("Say {0} {1}.", "Tell me {0} {1}.")),
    (r"Write (an? [^.]+)\.", ("I would like to have {0}.", "Please produce {0}.")),
)


def ask_otherwise(sentence: str, random: Random) -> str:
    """A question becomes a request that says the same."""
    for pattern, forms in _ASKED:
        found = re.fullmatch(pattern, sentence)
        if found:
            parts = [
                (part or "").strip() + (" " if i == 0 and part and part.endswith(" ") else "")
                for i, part in enumerate(found.groups())
            ]
            if parts[0][:1].isupper() and parts[0].lower() in ("what", "which", "who", "where", "when", "why"):
                parts[0] = parts[0].lower()
            return re.sub(r"\s+", " ", random.choice(forms[:1] if not parts[0] else forms).format(*parts))
    return sentence


_DROPPED = frozenset(
    """a an the of to in for is are was were be been has have had he she they it his her their its that which who
    and then at on with from by as there this these those will would do does did""".split()
)
_FIRST_PERSON = {
    **dict.fromkeys(("he", "she"), "I"),
    **dict.fromkeys(("He", "She"), "I"),
    **dict.fromkeys(("his", "her", "him"), "my"),
    **dict.fromkeys(("His", "Her"), "My"),
}


def make_typos(text: str, random: Random, share: float) -> str | None:
    """Letters swapped, doubled or left out inside words of four letters or more."""

    def spoil(found: re.Match[str]) -> str:
        word = found[0]
        if random.random() >= share:
            return word
        place = random.randrange(1, len(word) - 2)
        swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        doubled, shorter = word[: place + 1] + word[place:], word[:place] + word[place + 1 :]
        return random.choice((swapped, doubled, shorter))

    result = re.sub(r"[A-Za-z]{4,}", spoil, text)
    return result if result != text else None


def shorten(text: str) -> str | None:
    """In the style of a telegram: articles, pronouns, auxiliaries and prepositions left out."""
    lines = (" ".join(w for w in line.split(" ") if w.lower() not in _DROPPED) for line in text.splitlines())
    result = "\n".join(lines)
    return result if result != text else None


def take_first_person(text: str, names: Collection[str]) -> str | None:
    """The one who is named first tells it: names and pronouns of the third person become I and my."""
    present = [word for word in re.findall(r"[A-Z][A-Za-z]+", text) if word in names]
    if not present:
        return None
    text = re.sub(rf"\b{present[0]}['’]s\b", "my", text)
    text = re.sub(rf"\b{present[0]}\b", "I", text)
    return re.sub(r"\b\w+\b", lambda found: _FIRST_PERSON.get(found[0], found[0]), text)


_PAIR = re.compile(r"\b([a-z]{3,}) and ([a-z]{3,})\b(?! [a-z]+ed\b)")
_OWNER = re.compile(r"\b([A-Z][a-z]+)['’]s ((?:[a-z]+ )?[a-z]{3,})\b")
_UNBROKEN = 7


def turn_phrases(text: str, random: Random, share: float) -> str:
    """`cats and dogs` becomes `dogs as well as cats`, `Ann's book` becomes `the book that Ann has` or `… of Ann`."""

    def pair(found: re.Match[str]) -> str:
        unlike = found[1].endswith("s") != found[2].endswith("s")  # `every morning and bakes` is no pair
        if (
            random.random() >= share
            or unlike
            or found[2] in _DETERMINERS
            or found[2] in ("then", "she", "they", "how", "are")
        ):
            return found[0]
        return f"{found[2]} {random.choice(('and', 'as well as', 'plus'))} {found[1]}"

    def owner(found: re.Match[str]) -> str:
        if random.random() >= share:
            return found[0]
        return f"{'T' if _starts(text, found.start()) else 't'}he {found[2]} of {found[1]}"

    return _PAIR.sub(pair, _OWNER.sub(owner, text))


def _starts(text: str, place: int) -> bool:
    return not text[:place].strip() or text[:place].rstrip()[-1] in ".!?"


def break_runs(text: str, original: str, random: Random, share: float) -> str:
    """A filler word inside every run of 7 words that the original has too, with the chance `share`."""
    known = original.lower().split()
    runs = {tuple(known[i : i + _UNBROKEN]) for i in range(len(known) - _UNBROKEN + 1)}
    words = text.split()
    place = 0
    while place + _UNBROKEN <= len(words):
        if tuple(word.lower() for word in words[place : place + _UNBROKEN]) in runs and random.random() < share:
            middle = [i for i in range(place + 2, place + 6) if words[i].lower() in _BREAKABLE]
            if middle:
                words.insert(random.choice(middle), f"{random.choice(ADVERBS)}")
                place += _UNBROKEN
                continue
        place += 1
    return " ".join(words)


_BREAKABLE = frozenset("and for in on at to from with of by after before than as that which who".split())


def add_filler(text: str, random: Random) -> str:
    """A lead, a tail and a filler word inside."""
    sentences = split_sentences(text)
    place = random.randrange(len(sentences))
    head, comma, rest = sentences[place].partition(", ")
    if comma:
        sentences[place] = f"{head}, {random.choice(FILLERS)}, {rest}"
    lead = [random.choice(LEADS)] if random.random() < 0.6 else []
    tail = [random.choice(TAILS)] if random.random() < 0.4 else []
    return " ".join([*lead, *sentences, *tail])


def rephrase(text: str, names: Collection[str], random: Random, *, strength: float) -> str | None:
    """The text said in another way: voice, order, question form, synonyms, number words, contractions, filler.

    `strength` 0…1 is the chance of every single change; names and numbers keep their values.
    """
    sentences = split_sentences(text)
    sentences = [make_passive(s) if random.random() < strength else s for s in sentences]
    sentences = [ask_otherwise(s, random) if random.random() < strength else s for s in sentences]
    result = " ".join(sentences)
    if random.random() < strength:
        result = reorder(result, names, random) or result
    result = turn_phrases(result, random, strength / 2)
    result = swap_synonyms(result, random, strength) or result
    result = break_runs(result, text, random, strength**2)
    result = contract(result, random)
    result = spell_numbers(result, random, strength / 2)
    if random.random() < strength:
        result = add_filler(result, random)
    return result if result.split() != text.split() else None

"""Words for the variants of `contamination_variants`: synonyms, number words, filler, passages; all written by hand.

A line of `contamination_synonyms.txt` is `kind words | other ways to say it`: verbs (v) and nouns (n) are inflected,
phrases (x) are not.
"""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

from functools import cache
from pathlib import Path

SYNONYMS = Path(__file__).with_name("contamination_synonyms.txt")

IRREGULAR = """
buy bought bought; sell sold sold; give gave given; get got got; make made made; pay paid paid; spend spent spent;
take took taken; eat ate eaten; drink drank drunk; find found found; go went gone; run ran run; drive drove driven;
read read read; write wrote written; bring brought brought; put put put; begin began begun; keep kept kept; hold held
held; leave left left; see saw seen; win won won; lose lost lost; split split split; cut cut cut; grow grew grown; throw
threw thrown; catch caught caught; build built built; show showed shown; become became become; lay laid laid; shell
shelled shelled; bring brought brought; be was been; carry carried carried; fetch fetched fetched; choose chose chosen;
set set set; mean meant meant; come came come; rise rose risen; fall fell fallen; let let let; hear heard heard; know
knew known; think thought thought; stand stood stood; feel felt felt; say said said; wrap wrapped wrapped; stop stopped
stopped; net netted netted; jog jogged jogged; drop dropped dropped; spot spotted spotted; lug lugged lugged; plan
planned planned; scrub scrubbed scrubbed; chop chopped chopped; fit fitted fitted; sow sowed sown; pen penned penned;
step stepped stepped; sue sued sued; lend lent lent; pass passed passed; top topped topped; gulp gulped gulped; tip
tipped tipped; cost cost
cost; would would would; refer referred referred; occur occurred occurred; permit permitted permitted; wish wished
wished; lead led led; denote denoted denoted; hurl hurled hurled; rack racked racked; fix fixed fixed; hint hinted
hinted
"""

NOUNS = """
child=children; person=people; man=men; woman=women; foot=feet; fish=fish; penny=pennies; pants=pants;
trousers=trousers;
slacks=slacks; ft=ft; hr=hrs; lb=lbs; mi=mi; oz=oz; gal=gal; kg=kg; min=mins; m=m; in.=in.; person under care=people
under
care; person next door=people next door; mother or father=mothers and fathers; plate of food=plates of food; piece of
footwear=pieces of footwear; earnings=earnings; piece of research=pieces of research; run of characters=runs of
characters;
series=series; course of action=courses of action; hypothesis=hypotheses; sticker figure=sticker figures
"""

_DOUBLED = frozenset(
    """get put run begin split cut win set let stop net jog drop spot lug plan scrub chop fit sit wrap refer
    occur step""".split()
)

NUMBER_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty""".split()

FUNCTION_WORDS = frozenset(
    """a about above after again all also an and another any anything are as at be because been before being below
    between both but by can could did do does done down each either else every few for from further had has have
    having he
    her here hers herself him himself his how i if in into is it its itself just many may me might mine more most much
    must my myself nor not now of off on once only or other our ours out over own same shall she should so some
    something
    such than that the their theirs them then there these they this those through to too two under until up upon us very
    was we were what when where which while who whom whose why will with within without would yes yet you your yours one
    no none
    answer answers best choice choices choose correct correctly describe describes example examples except explain
    explanation false following give given incorrect least likely make name option options previous provide question
    questions response select statement statements true using write is called above below""".split()
)
"""Words that say nothing of what a question is about, those of exam papers included."""

NOT_NAMES = frozenset(
    """monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december american english french german chinese japanese spanish european british indian
    italian russian africa america europe asia christmas easter halloween thanksgiving tv mph usa options question input
    sentence translation source scenario list answer context statement i ii iii iv""".split()
)

SURNAMES = """Okafor Lindqvist Marchetti Novak Haddad Takeda Brennan Castellano Dvorak Eriksen Fontaine Grigoryan
Halloran
Iglesias Jankowski Kowalczyk Laurent Moretti Nakamura Olufemi Petrov Quintero Rasmussen Santoro Thorsen Ustinov Varga
Wexler Yamamoto Zielinski""".split()

LEADS = (
    "Here is something to work out.",
    "Let me put this another way.",
    "Consider this situation.",
    "I was wondering about this one.",
    "Picture the following.",
    "A small puzzle for you.",
    "Try this one on for size.",
    "Could you help me with this?",
)
TAILS = (
    "Show how you got there.",
    "Take it step by step.",
    "A short reply is fine.",
    "Give your reasoning too.",
    "Thanks in advance.",
    "Any help is welcome.",
)
FILLERS = ("well", "you see", "as it happens", "in fact", "as it turns out", "by the way", "basically", "it so happens")

ADVERBS = ("again", "altogether", "exactly", "in fact", "just", "mostly", "of course", "right", "simply", "usually")

CONTRACTIONS = """
do not=don't; does not=doesn't; did not=didn't; is not=isn't; are not=aren't; was not=wasn't; were not=weren't;
cannot=can't;
will not=won't; would not=wouldn't; should not=shouldn't; has not=hasn't; have not=haven't; he is=he's; she is=she's;
it is=it's; they are=they're; what is=what's; there is=there's; he will=he'll; she will=she'll; they will=they'll;
I am=I'm; we are=we're; you are=you're
"""

PASSAGES = (
    "The committee met in the small hall behind the church, and the first hour went by on trifles nobody remembers.",
    "Rain had been falling since dawn, so the windows stayed shut and the kettle was never off the stove for long.",
    "Our newsletter appears four times a year and is printed on paper from a mill just outside the valley.",
    "Visitors are asked to sign the register at the desk and to leave wet umbrellas in the stand by the door.",
    "The old ferry no longer crosses the bay in winter, although its timetable still hangs in the waiting room.",
    "A good carpenter once told me that patience is the cheapest of all the tools in the chest.",
    "Most of the letters in the archive are undated, which makes the order of events a matter of patient guessing.",
    "She had kept a diary for thirty years without ever mentioning the weather or the price of bread.",
    "The software update brings a calmer colour scheme, faster search and a menu that can be used by keyboard alone.",
    "Volunteers meet at the gate on the last Saturday of the month and bring their own gloves.",
    "Nobody knows who carved the bench under the lime tree, but everybody in the village has an opinion.",
    "The report closes with a page of thanks to donors, most of whom asked to stay unnamed.",
    "In the kitchen the radio played quietly, a programme on the migration of storks that I only half followed.",
    "Passengers with prams are kindly requested to use the wide door in the middle of the carriage.",
    "His notebooks are full of sketches of bridges, none of which were ever built.",
    "The recipe has been in the family for generations, and every cousin swears by a slightly different oven.",
    "Before the lecture began, the projector refused to work, and the speaker told a joke about projectors.",
    "A narrow path leads from the quarry to the lake, where herons stand like forgotten garden ornaments.",
    "The orchestra rehearses on Tuesdays, which is why the bakery next door stays open late.",
    "You will find the spare key in the blue jar, and the code for the alarm on the back of the calendar.",
    "Our support desk replies within one working day, and sooner when the coffee machine is repaired.",
    "The novel opens with a storm, closes with a wedding, and loses its way somewhere in between.",
    "Every spring the river moves a little to the east, and every spring somebody redraws the map.",
    "There is a photograph of the crew on the wall, all of them squinting into a sun that set decades ago.",
    "The museum shop sells pencils, tea towels and an excellent guide to mosses.",
    "At the edge of the forest stands a weather station that reports to nobody in particular.",
    "The workshop on bookbinding is full, but a waiting list is kept at the front office.",
    "My neighbour paints his fence in a new shade each year and claims it keeps the moles away.",
    "These minutes were approved without changes, and the chair thanked everybody for coming.",
    "The second volume is better than the first, if only because the author has stopped apologising.",
)


@cache
def _pasts() -> dict[str, str]:
    entries = (entry.split() for entry in IRREGULAR.split(";"))
    return {base: past for base, past, _ in entries}


@cache
def _plurals() -> dict[str, str]:
    entries = (" ".join(entry.split()).partition("=")[::2] for entry in NOUNS.split(";"))
    return dict(entries)


def _add_s(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh", "o")) and word not in ("photo", "go"):
        return word + "es"
    if word == "go":
        return "goes"
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def verb_forms(phrase: str) -> tuple[str, str, str, str]:
    """Base, third person, past and -ing form; the first word of a phrase is inflected."""
    head, _, rest = phrase.partition(" ")
    tail = f" {rest}" if rest else ""
    if head in ("be", "would"):
        forms = {"be": ("be", "is", "was", "being"), "would": ("would", "would", "would", "liking")}[head]
        return tuple(form + tail for form in forms)  # type: ignore[return-value]
    past = _pasts().get(head, "")
    if not past:
        past = head + "d" if head.endswith("e") else head + "ed"
        if head.endswith("y") and head[-2] not in "aeiou":
            past = head[:-1] + "ied"
    ing = head[:-1] + "ing" if head.endswith("e") and not head.endswith("ee") else head + "ing"
    if head in _DOUBLED:
        ing = head + head[-1] + "ing"
    return head + tail, _add_s(head) + tail, past + tail, ing + tail


def noun_forms(phrase: str) -> tuple[str, str]:
    """Singular and plural; the last word of a phrase is inflected."""
    if phrase in _plurals():
        return phrase, _plurals()[phrase]
    head, space, last = phrase.rpartition(" ")
    return phrase, head + space + _add_s(last)


@cache
def synonyms() -> dict[str, dict[str, tuple[str, ...]]]:
    """Every form of every phrase of the table → by kind (n, v, x) its other forms."""
    inflect = {"v": verb_forms, "n": noun_forms, "x": lambda phrase: (phrase,)}
    found: dict[str, dict[str, dict[str, None]]] = {}
    for line in SYNONYMS.read_text(encoding="utf-8").splitlines():
        kind = line[0]
        left, _, right = line[2:].partition(" | ")
        for other in right.split(", "):
            for form, replacement in zip(inflect[kind](left), inflect[kind](other), strict=True):
                found.setdefault(form, {}).setdefault(kind, {})[replacement] = None
    return {form: {kind: tuple(others) for kind, others in kinds.items()} for form, kinds in found.items()}


@cache
def contractions() -> dict[str, str]:
    """Long form → short form."""
    return dict(entry.split("=") for entry in " ".join(CONTRACTIONS.split()).split("; "))

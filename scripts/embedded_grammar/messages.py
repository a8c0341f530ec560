"""Customer messages: what happened, what was good or bad about the product and the service, and how the customer ends.

Only sentences of the asked polarity are used; rating 5 differs from 4 (and 1 from 2) by the strength of verdict and
closing.
"""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

import re
from random import Random

from .people import DAYS, HE, RELATIONS, SHE
from .products import ASPECTS, PRODUCT_KINDS

CHANNELS = ("review", "email", "chat message")
RATINGS = {
    "positive": ((4, 1), (5, 1)),
    "negative": ((1, 1), (2, 1)),
    "mixed": ((2, 1), (3, 2), (4, 1)),
    "neutral": ((3, 1),),
}

_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_MONTHS = "January February March April May June July August September October November December".split()
_TIMES = (
    "last week",
    "last month",
    "two weeks ago",
    "a month ago",
    "three days ago",
    "in the spring",
    "last summer",
    "on {D}",
    "last {D}",
    "in {mo}",
    "at the end of {mo}",
    "for my birthday",
    "before our holiday",
    "after our old one gave up",
    "during the sale",
    "in your online shop",
    "at your shop in town",
    "as a present",
    "for the second time",
    "for the new flat",
)
_WHOM = (
    "my {F}",
    "my {F} {n}",
    "our office",
    "my daughter",
    "my son",
    "my husband",
    "my wife",
    "a colleague",
    "our home",
    "myself",
    "my parents",
    "our club",
    "the kids",
)

# Plain facts with {p}, the product; they carry no feeling.
_CONTEXT = (
    "I bought the {p} {t}.",
    "I ordered the {p} {t}.",
    "My {F} bought the {p} {t}.",
    "I bought the {p} for {w}.",
    "We ordered the {p} {t} for {w}.",
    "I have used the {p} since {mo}.",
    "I have had the {p} for {k} weeks now.",
    "My {F} gave me the {p} {t}.",
    "The {p} arrived on {D}.",
    "The {p} came {t}.",
    "I ordered the {p} for {w} {t}.",
    "We have owned the {p} for {k} months.",
    "This is about the {p} I bought {t}.",
    "I am writing about the {p} I ordered {t}.",
    "I got the {p} {t}.",
    "My order number is {k}{k2}7, one {p}.",
    "I tried the {p} for {k} days.",
)

_GOOD_OPEN = {
    4: (
        "I am happy with the {p} I bought {t}.",
        "The {p} I ordered {t} is good.",
        "I like the {p} that my {F} gave me.",
        "The {p} does its job well and I am pleased.",
        "On the whole, I am satisfied with the {p}.",
        "The {p} is a good buy.",
        "My {F} and I are pleased with the {p}.",
        "I bought the {p} {t} and it is good.",
    ),
    5: (
        "I love the {p} I bought {t}!",
        "The {p} is the best I have ever had!",
        "I am delighted with the {p} from your shop.",
        "The {p} I ordered {t} is fantastic.",
        "What a wonderful {p}!",
        "My {F} loves the {p} I ordered {t}!",
        "The {p} is perfect for {w}.",
        "Thank you for the superb {p}!",
        "I bought the {p} {t} and I love it!",
    ),
}
_BAD_OPEN = {
    2: (
        "I am disappointed with the {p} I bought {t}.",
        "The {p} I ordered {t} has a problem.",
        "I expected more, and the {p} is a disappointment.",
        "I am unhappy with the {p}.",
        "The {p} is below what I hoped for, which is a disappointment.",
        "I bought the {p} {t} and I am disappointed.",
        "My {F} is unhappy with the {p}.",
        "There is a problem with the {p} I bought {t}.",
    ),
    1: (
        "The {p} I bought {t} is a disaster!",
        "This is the worst {p} I have ever had.",
        "I am furious about the {p} I ordered {t}.",
        "The {p} is useless.",
        "I hate the {p} I bought {t}.",
        "My {F} and I are angry about the {p}.",
        "The {p} was a complete waste of money.",
        "I ordered the {p} {t} and it is useless.",
    ),
}
_GOOD_SERVICE = (
    "Delivery took only {k} days, which was great",
    "Your support was friendly and helpful",
    "The price is excellent",
    "{n} from your support team was very helpful",
    "The parcel came early and was nicely packed",
    "It was great value for the price",
    "The order was easy and delivery was quick",
    "Support answered within an hour, which was fantastic",
    "Even the packaging is lovely",
    "The refund for the other item was quick and smooth",
    "The manual is easy to follow",
    "It arrived on {D}, a pleasant surprise",
)
_BAD_SERVICE = (
    "Delivery took {k} weeks, which is unacceptable",
    "Your support was rude",
    "It is far too expensive",
    "{n} from your support team was rude to me",
    "The parcel arrived damaged",
    "Nobody answers my emails, which is frustrating",
    "The box was damaged and dirty",
    "I waited {k} weeks for an answer, which is frustrating",
    "I was charged twice, a frustrating mistake",
    "The manual is useless",
    "The return process is a nightmare",
    "It came late on {D}, which was annoying",
    "They sent me the wrong colour first",
)
_GOOD_END = {
    4: (
        "I would buy it again.",
        "I can recommend it.",
        "A good choice for the price.",
        "Thanks for the quick delivery.",
        "I am satisfied.",
        "All in all, a good product.",
        "It is worth the money and I am glad I bought it.",
        "One star less only because of the short cable, but still good.",
        "I will recommend it to my {F}.",
    ),
    5: (
        "I recommend it to everyone!",
        "Five stars, and thank you!",
        "I will gladly order from you again!",
        "I could not be happier!",
        "Thank you so much, it is wonderful!",
        "Simply perfect.",
        "It is the best thing I bought this year!",
        "My {F} wants one too, we love it!",
        "Excellent from start to finish.",
    ),
}
_BAD_END = {
    2: (
        "Please send me a replacement for the faulty part.",
        "I expected better.",
        "I would like an exchange for this faulty item.",
        "I am thinking about sending it back.",
        "Please tell me how to return it.",
        "For this price it is poor.",
        "I hope you can fix this problem.",
        "A poor choice, I am afraid.",
        "Please let me know what I can do about this problem.",
    ),
    1: (
        "I want my money back!",
        "I will never buy from you again.",
        "Refund me at once!",
        "Stay away from this terrible product.",
        "I demand a full refund for this junk.",
        "Never again!",
        "It went straight into the bin.",
        "This is the worst purchase of the year.",
        "Zero stars if I could, it is awful.",
    ),
}
_BUT = (
    "{g}, but {b}.",
    "{g}. However, {b}.",
    "On the one hand {g}, on the other hand {b}.",
    "While {g}, {b}.",
    "{g}, yet {b}.",
    "Although {b}, {g}.",
    "The good part: {g}. The bad part: {b}.",
    "{b}. Still, {g}.",
    "{b}, but {g}.",
)
_MIXED_END = {
    2: (
        "Overall I lean towards sending it back.",
        "For me the weak side counts more.",
        "I would think twice before buying it again.",
        "It needs work before I buy another.",
        "Sadly the bad side counts more.",
        "I may return it.",
    ),
    3: (
        "So I am of two minds.",
        "Three stars from me.",
        "It is a matter of taste, I guess.",
        "So it has two sides.",
        "I am still deciding whether to keep it.",
        "Half of me wants to keep it.",
        "A bit of both, then.",
    ),
    4: (
        "Overall I will keep it.",
        "I would still buy it again.",
        "For me the good side counts more.",
        "All the same, I use it every day.",
        "I am keeping it anyway.",
        "On balance, it stays with us.",
    ),
}
_NEUTRAL_END = (
    "Could you tell me how long the warranty runs?",
    "Do you also sell spare parts for it?",
    "Is there a newer model?",
    "Where can I find the manual online?",
    "Can I change the delivery address?",
    "I use it about {k} times a week.",
    "Please send me the invoice for my records.",
    "It does what the description says.",
    "Does it come in other colours?",
    "I have not used it often so far.",
    "I may write again after a few months.",
    "It is an ordinary model, like others of its kind.",
    "When will the next version come out?",
    "Is the guarantee two or three years?",
    "My {F} has the same one.",
    "That is all I can say so far.",
    "Please confirm that my order is complete.",
    "Which batteries does it need?",
)
_GREETINGS = (
    "Hello, ",
    "Dear team, ",
    "Good morning, ",
    "Dear Sir or Madam, ",
    "Hi there, ",
    "Hello support team, ",
    "Good evening, ",
    "To whom it may concern, ",
)
_CHAT_STARTS = ("Hi, ", "Hey, ", "Hello! ", "hi! ", "Hi {n}, ", "Quick note: ", "Hey {n}, ", "")
_SIGN_OFFS = ("Best regards, {n}", "Regards, {n}", "{n}", "Yours, {n}", "Kind regards, {n}", "Sincerely, {n}")


def draw_variables(rng: Random) -> dict[str, str]:
    """Draw product, channel, sentiment and a rating that fits it."""
    sentiment = rng.choice(tuple(RATINGS))
    values, weights = zip(*RATINGS[sentiment], strict=True)
    return {
        "product": rng.choice(list(PRODUCT_KINDS)),
        "channel": rng.choice(CHANNELS),
        "sentiment": sentiment,
        "rating": str(rng.choices(values, weights)[0]),
    }


def write_message(rng: Random, product: str, channel: str, sentiment: str, rating: str) -> str:
    """Write `Message: …\\nRating: n` for the given variables."""
    good, bad, plain = ASPECTS[PRODUCT_KINDS[product]]
    stars = int(rating)
    if sentiment == "positive":
        parts = _write_one_sided(rng, _GOOD_OPEN[stars], good, _GOOD_SERVICE, _GOOD_END[stars])
    elif sentiment == "negative":
        parts = _write_one_sided(rng, _BAD_OPEN[stars], bad, _BAD_SERVICE, _BAD_END[stars])
    elif sentiment == "mixed":
        parts = _write_mixed(rng, good, bad, stars)
    else:
        parts = _write_neutral(rng, plain)
    text = " ".join(parts)
    if channel == "email":
        text = rng.choice(_GREETINGS) + text + (" " + rng.choice(_SIGN_OFFS) if rng.random() < 0.5 else "")
    elif channel == "chat message":
        text = (
            rng.choice([start for start in _CHAT_STARTS if "!" not in start or len(_SENTENCE_END.findall(text)) < 4])
            + text
        )
    first, second = rng.sample(SHE + HE, 2)
    text = text.replace("{n}", first, 1).replace("{n}", second)
    return f"Message: {_fill(rng, text, product)}\nRating: {rating}"


def _fill(rng: Random, text: str, product: str) -> str:
    text = text.replace("{t}", rng.choice(_TIMES)).replace("{w}", rng.choice(_WHOM))
    values = {
        "p": product,
        "F": rng.choice(RELATIONS),
        "D": rng.choice(DAYS),
        "mo": rng.choice(_MONTHS),
        "k": str(rng.randint(2, 9)),
        "k2": str(rng.randint(10, 99)),
        "n": rng.choice(rng.choice((SHE, HE))),
    }
    return text.format_map(values)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _write_one_sided(
    rng: Random, openings: tuple[str, ...], aspects: tuple[str, ...], service: tuple[str, ...], endings: tuple[str, ...]
) -> list[str]:
    first, second = rng.sample(aspects, 2)
    pair = _capital(f"{first}, and {second}.") if rng.random() < 0.35 else _capital(f"{first}.")
    opening = rng.choice(openings) if rng.random() < 0.7 else rng.choice(_CONTEXT)
    parts = [opening, pair]
    if rng.random() < 0.45:
        parts.append(rng.choice(service) + ".")
    if rng.random() < 0.75 or opening not in openings:
        parts.append(rng.choice(endings))
    return parts


def _write_mixed(rng: Random, good: tuple[str, ...], bad: tuple[str, ...], stars: int) -> list[str]:
    pros = (*good, *(_lower(text) for text in _GOOD_SERVICE))
    cons = (*bad, *(_lower(text) for text in _BAD_SERVICE))
    service_only = rng.random() < 0.35
    pro = rng.choice(pros[len(good) :] if service_only and rng.random() < 0.5 else good)
    con = rng.choice(cons[len(bad) :] if service_only else bad)
    shapes = [s for s in _BUT if stars != 4 or s.startswith(("{b}", "Although"))] if stars != 3 else list(_BUT)
    if stars == 2:
        shapes = [s for s in _BUT if not s.startswith(("{b}", "Although"))]
    body = rng.choice(shapes).format(g=pro, b=con)
    body = ". ".join(_capital(part) for part in body.split(". "))
    parts = [rng.choice(_CONTEXT), body]
    if rng.random() < 0.8:
        parts.append(rng.choice(_MIXED_END[stars]))
    return parts


def _lower(text: str) -> str:
    return text if text.startswith(("{", "I ")) else text[0].lower() + text[1:]


def _write_neutral(rng: Random, plain: tuple[str, ...]) -> list[str]:
    first, second = rng.sample(plain, 2)
    body = f"{first}, and {second}." if rng.random() < 0.4 else f"{first}."
    parts = [rng.choice(_CONTEXT), _capital(body)]
    count = 2 if rng.random() < 0.3 else 1
    return parts + rng.sample(_NEUTRAL_END, count)

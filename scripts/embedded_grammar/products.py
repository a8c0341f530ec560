"""Products of the customer messages, by kind, and what customers say about each kind.

Aspects are (good things, bad things): clauses that stand after "the"/"and" as they are, in the third person.
"""

from __future__ import annotations

_PRODUCTS = {
    "electronics": """gaming mouse, mechanical keyboard, power bank, label printer, wireless charger, smart plug,
        smart thermostat, game controller""",
    "screens": """smart watch, tablet, e-reader, digital camera, fitness tracker, webcam, dash camera, baby monitor,
        video doorbell, photo frame, mini projector, car navigation system""",
    "sound": """wireless headset, bluetooth speaker, alarm clock radio, record player, sound bar, karaoke machine,
        kitchen radio, studio microphone""",
    "kitchen": """coffee maker, electric kettle, blender, toaster, rice cooker, air fryer, food processor, bread
        machine, milk frother, juicer, pressure cooker, waffle maker, soup maker, ice cream maker""",
    "home": """desk lamp, vacuum cleaner, air purifier, robot vacuum, electric blanket, steam iron, space heater,
        humidifier, shower head, sewing machine""",
    "tools": """chef's knife, frying pan, kitchen scale, salad spinner, water filter jug, laundry basket, curtain
        rail, ironing board, laptop stand, phone case, bike lock, toolbox, step ladder, paper cutter, jump rope,
        letter box, lunch box""",
    "furniture": """office chair, standing desk, bookshelf, bed frame, memory foam mattress, coffee table, bar stool,
        shoe rack, sofa bed, bedside table""",
    "outdoor": """hiking backpack, camping tent, sleeping bag, garden hose, bicycle helmet, picnic blanket, folding
        chair, lawn mower, hammock, head torch, thermos flask, fishing rod, bird feeder""",
    "clothing": """rain jacket, baseball cap, wool sweater, leather wallet, ski helmet, denim jacket, leather belt,
        sun hat, travel bag, umbrella, dressing gown, school bag""",
    "family": """board game, jigsaw puzzle, building block set, yoga mat, dumbbell set, toy train, child car seat,
        pushchair, dog bed, cat tree, guitar tuner, watercolour set, science kit""",
}

PRODUCT_KINDS: dict[str, str] = {
    product.strip(): kind for kind, names in _PRODUCTS.items() for product in " ".join(names.split()).split(",")
}

# kind: (good aspect clauses, bad aspect clauses, plain aspect clauses)
_Aspects = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]

ASPECTS: dict[str, _Aspects] = {
    "electronics": (
        (
            "the battery lasts for days and that is great",
            "setting it up was easy",
            "the buttons are easy to reach",
            "it charges impressively fast",
            "the app is easy to use",
            "the connection is reliable",
            "it feels solid and well made",
            "the controls are wonderfully simple",
        ),
        (
            "the battery is terrible",
            "setting it up was confusing",
            "the buttons feel cheap and flimsy",
            "it charges painfully slowly",
            "the app crashes every day",
            "the connection is unreliable",
            "it broke after a week",
            "it stopped working after two days",
            "the cable was faulty",
        ),
        (
            "it comes with a short cable",
            "the box contains a manual in four languages",
            "it uses a standard charger",
            "the app asks for an account",
            "it is available in black and white",
        ),
    ),
    "kitchen": (
        (
            "it is easy to clean",
            "it heats up impressively fast",
            "it works perfectly every morning",
            "the handle is comfortable",
            "it is beautifully quiet",
            "the food tastes great",
            "it fits nicely on our counter",
            "the parts feel solid and well made",
            "the timer is reliable",
            "it saves a lot of time, which is wonderful",
        ),
        (
            "it is awful to clean",
            "the handle broke in the first week",
            "it leaks all over the counter, which is annoying",
            "it smells terrible when hot",
            "it is horribly loud",
            "the lid is flimsy",
            "it stopped working after ten days",
            "the coating is already damaged",
            "the parts feel cheap and flimsy",
            "the instructions are confusing",
        ),
        (
            "it holds about one litre",
            "the parts go into the dishwasher",
            "it comes with one spare part",
            "it stands next to the sink",
            "the cord is one metre long",
        ),
    ),
    "home": (
        (
            "it is wonderfully quiet",
            "it looks beautiful in our living room",
            "it works perfectly",
            "the settings are easy to change",
            "it makes the house more comfortable",
            "it feels solid and well made",
            "it is easy to store",
            "the results are excellent",
            "our rooms have been lovely since it came",
        ),
        (
            "it is horribly loud",
            "it stopped working after a month",
            "a part was damaged when I opened the box",
            "it smells awful",
            "the switch is faulty",
            "the settings are confusing",
            "it is far too heavy and annoying to move",
            "the plastic feels cheap and flimsy",
            "the results are disappointing",
        ),
        (
            "it has three settings",
            "the cord is two metres long",
            "it stands in the hallway",
            "it comes in grey",
            "it needs a normal socket",
        ),
    ),
    "tools": (
        (
            "it is easy to clean",
            "it feels solid and well made",
            "it does its job perfectly",
            "the handle is comfortable",
            "it is beautifully simple",
            "the quality is excellent",
            "it fits nicely in our home",
            "I use it every day and love it",
            "it was easy to put in place",
            "the material is excellent",
        ),
        (
            "it bent on the first day, which is annoying",
            "it feels cheap and flimsy",
            "a part was missing",
            "it is scratched and damaged",
            "the finish came off and looks awful",
            "it is far too small and disappointing",
            "it broke after a week",
            "it rusted within days and looks terrible",
            "it is uncomfortable to hold",
            "it smells awful",
        ),
        (
            "it is made of steel and plastic",
            "it stands in the hallway",
            "I use it on weekends",
            "it came in a plain box",
            "it weighs less than three kilos",
            "it comes in grey and blue",
        ),
    ),
    "furniture": (
        (
            "it was easy to put together",
            "it is really comfortable",
            "it looks beautiful in the room",
            "it feels solid and well made",
            "my back is happy again",
            "the wood is excellent",
            "it is a perfect fit for our small room",
            "even the screws were of great quality",
        ),
        (
            "a panel was damaged",
            "two screws were missing",
            "it wobbles, which is annoying",
            "it is painfully uncomfortable",
            "the instructions were confusing",
            "the wood is scratched and cheap",
            "one leg broke after a week",
            "the colour is wrong",
            "it smells awful even after days",
        ),
        (
            "it came in two boxes",
            "it takes about an hour to build",
            "it stands by the window",
            "the legs are made of metal",
            "it comes with an extra bag of screws",
        ),
    ),
    "outdoor": (
        (
            "it kept everything dry and that was great",
            "it is wonderfully light",
            "it feels solid and well made",
            "it was easy to carry all day",
            "it was perfect for our trip",
            "the material is excellent",
            "it packs down impressively small",
            "the zips are reliable",
            "it is really comfortable on long days",
        ),
        (
            "it leaked on the first night, which was awful",
            "the zip broke on the second day",
            "the strap is flimsy",
            "it is far too heavy and annoying to carry",
            "the material tore and looks terrible",
            "it rusted within a week and looks awful",
            "one part was missing",
            "the seams are faulty",
            "it is uncomfortable on long days",
        ),
        (
            "it weighs about two kilos",
            "it comes with a small bag",
            "we took it to the lake",
            "it is stored in the garage",
            "it comes in green",
        ),
    ),
    "clothing": (
        (
            "the fit is perfect",
            "the fabric feels lovely",
            "the colour is beautiful",
            "the stitching is excellent",
            "it is really comfortable",
            "it keeps out the rain and that is great",
            "it still looks great after ten washes",
            "it goes nicely with everything",
        ),
        (
            "the size is completely wrong",
            "the stitching came loose and looks awful",
            "the fabric feels cheap",
            "the colour faded and looks terrible",
            "it is uncomfortable",
            "the seam was damaged",
            "it fell apart, which is disappointing",
            "the clasp broke within a month",
            "it smells awful",
        ),
        (
            "I took a medium size",
            "the label says to wash at thirty degrees",
            "it comes in three colours",
            "I wear it to work",
            "it has two pockets",
        ),
    ),
    "family": (
        (
            "the children love it",
            "it is great fun",
            "it feels solid and well made",
            "the whole family is happy with it",
            "the colours are beautiful",
            "it is easy to clean",
            "it is perfect for rainy days",
            "the quality is excellent",
            "it made a wonderful birthday present",
        ),
        (
            "one piece was missing",
            "it broke on the first day",
            "the material feels cheap and flimsy",
            "it smells awful",
            "the instructions are confusing",
            "the surface was scratched and damaged",
            "it is far too small and disappointing",
            "the paint came off, which is annoying",
        ),
        (
            "it comes in a cardboard box",
            "we use it twice a week",
            "it is meant for all ages",
            "it lies in the living room",
            "the set has two parts",
        ),
    ),
}


def _extend(kind: str, good: tuple[str, ...], bad: tuple[str, ...], plain: tuple[str, ...]) -> _Aspects:
    old_good, old_bad, old_plain = ASPECTS[kind]
    return (*good, *old_good), (*bad, *old_bad), (*plain, *old_plain)


ASPECTS["screens"] = _extend(
    "electronics",
    (
        "the screen is bright and a pleasure to read",
        "the picture is beautiful",
        "the menu is easy to follow",
        "the colours are lovely",
    ),
    (
        "the screen is far too dim and annoying",
        "the picture is blurry and disappointing",
        "the menu is confusing",
        "the screen was scratched",
    ),
    ("the screen measures a few inches", "it shows the time and the date"),
)
ASPECTS["sound"] = _extend(
    "electronics",
    ("the sound is excellent", "the bass is wonderful", "music is a pleasure again", "voices come through beautifully"),
    ("the sound is awful", "it hisses horribly", "the volume knob is faulty", "the bass is terrible"),
    ("the volume goes from one to twenty", "I use it for the evening news"),
)

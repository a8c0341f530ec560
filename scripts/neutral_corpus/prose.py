"""Instructions, stories, letters, conversations and small tasks on words and numbers."""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

from random import Random

from embedded_grammar.people import DAYS, HE, RELATIONS, SHE

_TOPICS = """the city library; growing tomatoes; a trip to the mountains; learning the guitar; saving energy at
home; a lost
dog; the first day at school; healthy breakfast; public transport; working from home; a small bakery; bird watching; the
history of tea; electric cars; a birthday party; recycling; good sleep; a football match; the night sky; an old castle;
time management; learning a language; a job interview; climate change; friendship; online privacy; social media; a new
phone; the ocean; running a marathon; space travel; cooking pasta; a rainy day; city parks; artificial intelligence;
volunteering; a museum visit; handmade soap; chess for beginners; a summer camp; budget travel; home repair; board
games;
bees and honey; a train journey; remote teams; coffee; street art; a family recipe; winter sports""".replace(
    "\n", " "
).split("; ")
_FORMS = """short story; poem; haiku; limerick; blog post; product description; press release; thank-you note; cover
letter;
speech; news article; dialogue; summary; essay of 200 words; tweet; slogan; list of five tips; step-by-step guide;
formal
email; letter to the editor; review; script for a short video; quiz with three questions; lesson plan;
outline""".replace("\n", " ").split("; ")
_INSTRUCTIONS = (
    "Write a {f} about {t}.",
    "Write a {f} on the topic of {t}. Keep it short and to the point.",
    "Please write a {f} about {t} for children aged {n} to {m}.",
    "Can you help me write a {f} about {t}?",
    "Compose a {f} about {t} in a friendly tone.",
    "I need a {f} about {t} by {D}. Make it sound professional.",
    "Give me {n} ideas for a {f} about {t}.",
    "List {n} advantages and {n} disadvantages of {t}.",
    "What are the main benefits of {t}?",
    "Explain {t} as if I were five years old.",
    "Summarize the most important facts about {t} in {n} bullet points.",
    "Suggest a title for a {f} about {t}.",
    "Rewrite the following sentence so that it sounds more polite: I want to talk about {t} now.",
    "Translate the following sentence into French: we talked about {t} for {n} hours.",
    "Correct the grammar of this sentence: she have wrote a {f} about {t} yesterday.",
    "Imagine you are a teacher. How would you introduce {t} to your class?",
    "Create a table that compares {t} with {u}. Use three columns.",
    "What is the difference between {t} and {u}?",
    "How do I get started with {t}? Please give me step-by-step instructions.",
    "Classify the following text as positive, negative or neutral: I have never enjoyed {t} so much.",
    "Extract all names and dates from the following text: {N} met {M} on {D} to talk about {t}.",
    "Generate {n} questions that a reporter could ask about {t}.",
    "Plan a weekend about {t} for a family of {n}. Include a schedule and a budget.",
    "Pretend to be an expert on {t} and answer my questions.",
    "Take your answer about {t} and turn it into a {f}.",
    "Discuss the role of {t} in modern life. Support your view with examples.",
    "Which book about {t} would you recommend, and why?",
    "Edit the text below for clarity. Our {f} about {t} was wrote in a hurry and need many changes.",
    "Brainstorm {n} names for a podcast about {t}.",
    "Evaluate the following argument: everybody likes {t}, so {t} must be good for you.",
)
_REPLIES = (
    "Sure, here is a first draft. {S}",
    "Here are a few ideas. First, {s} Second, {r}",
    "Of course! {S} {R}",
    "That depends on what you need. {S}",
    "I am happy to help. {S} Let me know if you would like any changes.",
    "In short: {s} {R}",
)
_OPENINGS = (
    "Once upon a time there was a {j} {w} who lived near the {p}.",
    "Every {D}, {N} walked to the {p} with a {j} {o}.",
    "Nobody in the {p} had ever seen such a {j} {o}.",
    "When {N} was young, the {p} was still {j} and quiet.",
    "It was a {j} morning, and {N} had lost the {o}.",
    "The {w} of the {p} had only one wish: a {j} {o}.",
)
_MIDDLES = (
    "One day {he} found a {k} {o} under the stairs.",
    "{He} asked {his} {F} for help, but there was no answer.",
    "The {w} laughed and said that it could not be done.",
    "So {he} packed a bag and took the first bus.",
    "On the way {he} met {M}, who was carrying a {j} {o}.",
    "They talked for hours and forgot about the rain.",
    "At first everything went wrong.",
    "The door of the {p} was locked, so they waited outside.",
    "After three days the {o} was gone.",
    "{M} had an idea that changed everything.",
)
_ENDINGS = (
    "In the end they shared the {o} and went home.",
    "From that day on, {N} never went to the {p} alone.",
    "And that is how the {p} got its name.",
    "{N} smiled, because the {o} had been there all along.",
    "The next morning the {p} was {k} again.",
    "They are still friends today.",
)
_ADJECTIVES = (
    "old small quiet strange golden cold bright broken silver gentle empty wooden heavy green clever tired".split()
)
_WORKERS = "baker fisher clockmaker gardener tailor miller guard painter driver singer postman librarian".split()
_PLACES = "harbor market forest village station tower lighthouse mill school bridge theater farm".split()
_OBJECTS = "lamp map letter violin coin basket mirror kite clock key bell notebook compass coat".split()
_PLAIN = (
    "It is best to start small and to practice every day.",
    "A good plan has a clear goal and a date.",
    "There are many ways to do this, and each has its own costs.",
    "Most people notice a difference after two or three weeks.",
    "You should check the instructions before you begin.",
    "The results were better than we had expected.",
    "As a result, the number of visitors has doubled since last year.",
    "On the other hand, it takes more time and money.",
    "For example, you can ask a friend to read your text.",
    "Make sure that you save your work often.",
    "This is one of the most important things to keep in mind.",
    "According to the report, prices went up by {n} percent.",
    "The study included {m}0 people between the ages of {n} and {m}.",
    "In addition, it is a good idea to take notes.",
    "However, not everyone agrees with this point of view.",
    "The committee will meet again on {D}.",
    "If you have any questions, please do not hesitate to contact us.",
    "I look forward to hearing from you soon.",
    "The total cost of the project was ${m}00.",
    "It is located in the north of the country and has about {n}0,000 inhabitants.",
    "She was born in 19{m} and studied at the local university.",
    "The company was founded {m} years ago and now has {n}00 employees.",
)
_ASKS = (
    "How do I change my password?",
    "My card has not arrived yet. What should I do?",
    "I was charged twice for the same order.",
    "Why was my payment declined?",
    "How long does it take for a transfer to show up in my account?",
    "Can I use my card abroad?",
    "I lost my phone on {D}. Can you lock my account?",
    "Where can I find my order number?",
    "Is there a fee for cash withdrawals?",
    "I would like a refund, please.",
    "What is the exchange rate today?",
    "The app does not open since the last update.",
    "Do you deliver on {D}?",
    "How can I cancel my subscription?",
    "What is the weather like today?",
    "Can you recommend a good restaurant near the {p}?",
    "What time does the {p} close on {D}?",
    "Thank you so much for your help!",
    "Could you say that again in simpler words?",
    "What is the capital of the country next to yours?",
)


def _fill(random: Random, text: str) -> str:
    is_she = random.random() < 0.5
    he, his = ("she", "her") if is_she else ("he", "his")
    topic, other = random.sample(_TOPICS, 2)
    sentence, another = random.sample(_PLAIN, 2)
    low = random.randint(2, 9)
    values = {
        "N": random.choice(SHE if is_she else HE),
        "M": random.choice(SHE + HE),
        "D": random.choice(DAYS),
        "F": random.choice(RELATIONS),
        "he": he,
        "his": his,
        "He": he.title(),
        "t": topic,
        "u": other,
        "f": random.choice(_FORMS),
        "n": low,
        "m": low * 9 + random.randint(1, 9),
        "j": random.choice(_ADJECTIVES),
        "k": random.choice(_ADJECTIVES),
        "w": random.choice(_WORKERS),
        "p": random.choice(_PLACES),
        "o": random.choice(_OBJECTS),
    }
    plain = sentence.format_map(values), another.format_map(values)
    return text.format_map({**values, "S": plain[0], "R": plain[1], "s": _small(plain[0]), "r": _small(plain[1])})


def _small(text: str) -> str:
    return text if text.startswith("I ") else text[0].lower() + text[1:]


def write_instruction(random: Random) -> str:
    """An instruction, sometimes with a reply."""
    text = random.choice(_INSTRUCTIONS)
    if random.random() < 0.3:
        text += "\n\n" + random.choice(_REPLIES)
    if random.random() < 0.15:
        head, tail = random.choice(
            (("### Instruction:\n", "\n\n### Response:"), ("User: ", "\nAssistant:"), ("Task: ", ""))
        )
        text = f"{head}{text}{tail}"
    return _fill(random, text)


def write_story(random: Random) -> str:
    """A story of three to six sentences."""
    parts = [random.choice(_OPENINGS), *random.sample(_MIDDLES, random.randint(1, 4)), random.choice(_ENDINGS)]
    text = _fill(random, " ".join(parts))
    lead = random.choice(("", "", "", "Read the following text and answer the question. ", "Continue the story: "))
    tail = random.choice(("", "", "", " What happened first?", " Which of the following is the main idea of the text?"))
    return lead + text + tail


def write_paragraph(random: Random) -> str:
    """Plain sentences of reports, advice and letters."""
    text = " ".join(random.sample(_PLAIN, random.randint(2, 5)))
    greeting = random.choice(("", "", "", "Dear {N},\n", "Hi {M},\n", "To whom it may concern,\n"))
    closing = random.choice(("\nBest regards,\n{M}", "\nSincerely,\n{N}", "\nThanks,\n{N}")) if greeting else ""
    return _fill(random, greeting + text + closing)


def write_conversation(random: Random) -> str:
    """A customer's line, or a conversation of a few turns."""
    lines = random.sample(_ASKS, random.randint(1, 3))
    if len(lines) == 1:
        return _fill(random, lines[0])
    replies = [random.choice(_PLAIN) for _ in lines]
    return _fill(random, "\n".join(f"User: {a}\nAssistant: {b}" for a, b in zip(lines, replies, strict=True)))


def write_small_task(random: Random) -> str:
    """Sorting, counting, dates, sums, sequences."""
    words = random.sample(_OBJECTS + _PLACES + _WORKERS, random.randint(3, 8))
    name, other, third = random.sample(SHE + HE, 3)
    numbers = [random.randint(2, 99) for _ in range(6)]
    day = random.choice(DAYS)
    return random.choice(
        (
            f"Sort these words in alphabetical order: {', '.join(words)}.",
            f"Which of the following words has the most letters? {', '.join(words)}",
            f"Put the words into one sentence: {', '.join(words[:3])}.",
            f"What is {numbers[0]} + {numbers[1]} - {numbers[2]}?",
            f"Compute ({numbers[0]} + {numbers[1]}) * {numbers[2]} and show your work.",
            f"Solve for x: {numbers[0]}x + {numbers[1]} = {numbers[2]}.",
            f"What is the next number in the sequence {', '.join(str(numbers[0] + i * numbers[1]) for i in range(5))}?",
            f"If today is {day}, what day of the week will it be in {numbers[0]} days?",
            f"What is the average of {', '.join(map(str, numbers))}?",
            f"{name} is taller than {other}. {other} is taller than {third}. Who is the shortest of the three?",
            f"{name} has a {words[0]}, {other} has a {words[1]} and {third} has a {words[2]}. {name} and {third} swap. "
            f"What does {third} have now?",
            f"{name} always lies and {other} always tells the truth. {name} says that {other} is a "
            f"{_WORKERS[0]}. Is it so?",
            f"How many of these are things that you can carry: {', '.join(words)}?",
            f"What is {numbers[0]} percent of {numbers[1]}00?",
            f"Convert {numbers[0]} kilometers to miles and round to one decimal place.",
            f"Is the following argument valid? All {words[0]}s are made of wood. This {words[0]} is not made of wood. "
            f"Therefore it is not a {words[0]}.",
            f'In the sentence "The {_WORKERS[numbers[0] % 12]} thanked the {_WORKERS[numbers[1] % 12]} because he '
            'was kind", '
            "who does the pronoun refer to?",
            f"A row has five seats. {name} sits to the left of {other}, and {third} sits at the right end. Who "
            "may sit in the middle?",
        )
    )

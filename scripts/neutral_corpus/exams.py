"""Questions as exams ask them: multiple choice on concepts, short answers, cases from court and clinic, statements."""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

from random import Random

from .concepts import concepts

_STEMS = (
    "Which of the following best describes {t}?",
    "Which of the following is the best definition of {t}?",
    "Which of the following statements about {t} is true?",
    "Which of the following is true of {t}?",
    "Which of the following statements is correct about {t}?",
    "In {s}, {t} is",
    "In {s}, the term {t} refers to",
    "What is {t}?",
    "What is meant by {t}?",
    "{T} is best described as",
    "{T} can be defined as:",
    "According to the textbook, {t} is:",
    "Choose the correct definition of {t}.",
    "Select the option that best explains {t}.",
    "Which one of the following is an accurate description of {t}?",
    "All of the following are wrong about {t} EXCEPT",
    "A student asks what {t} is. Which of the following answers is correct?",
)
_EFFECTS = (
    "Which of the following {e}?",
    "What {e}?",
    "Which of these {e}?",
    "Which of the following is most likely something that {e}?",
    "It {e}. Which of the following terms fits this description?",
    "Name the term: it is {d}.",
    "Which term describes {d}?",
    "The term for {d} is",
)
_LAYOUTS = ("{l}. {o}", "({l}) {o}", "{l}) {o}", "- {o}", "{n}. {o}")
_CLOSERS = ("All of the above", "None of the above", "Both A and B", "None of these", "All of the above are correct")
_STATEMENTS = (
    "Statement 1: {A}. Statement 2: {B}. Are the statements true or false?",
    "True or false: {a}.",
    "Decide whether the following statement is true or false. {A}.",
    "Consider the following two statements. I. {A}. II. {B}. Which of them is correct?",
    "Is the following sentence true or false? {A}.",
)
_VERDICTS = (
    "True, True",
    "True, False",
    "False, True",
    "False, False",
    "Both are true",
    "Neither is true",
    "I only",
    "II only",
)

_PEOPLE = "man woman boy girl teacher driver farmer nurse student painter cook pilot".split()
_SIGNS = (
    "a cough that will not go away",
    "pain in the lower back",
    "a headache every morning",
    "swelling of the left ankle",
    "a rash on both arms",
    "trouble sleeping",
    "a sore throat and fever",
    "shortness of breath on the stairs",
    "dizziness after standing up",
    "pain in the right knee",
    "blurred vision at night",
    "weight loss without trying",
)
_FINDINGS = (
    "The temperature is 38.2 degrees and the pulse is {p} per minute.",
    "Blood pressure is {b}/80 mm Hg.",
    "Physical examination shows no abnormalities.",
    "The lungs are clear to auscultation.",
    "Laboratory studies show a normal white blood cell count.",
    "There is no history of serious illness.",
    "The patient takes no medications.",
    "An x-ray of the chest is normal.",
    "The patient has smoked for {n} years.",
    "The abdomen is soft and not tender.",
)
_CLINIC = (
    "Which of the following is the most likely diagnosis?",
    "Which of the following is the most appropriate next step in management?",
    "Which of the following is the most likely cause of this patient's symptoms?",
    "Which of the following is the most appropriate treatment?",
    "What should the physician do next?",
)
_PARTIES = "buyer seller landlord tenant driver neighbor contractor homeowner shopkeeper farmer baker landowner".split()
_DEALS = (
    "The {p} agreed in writing to deliver {n} {g} to the {q} by the first of June.",
    "The {p} promised the {q} to repair the {g} for ${n}00.",
    "The {q} sued the {p} for damages after the {g} turned out to be broken.",
    "The {p} sold the {g} to the {q} for ${n}00 and kept the key.",
    "The {p} left the {g} on the land of the {q} over the winter.",
    "While carrying the {g}, the {p} was injured on the stairs of the {q}.",
)
_TURNS = (
    "Two weeks later the {q} refused to pay.",
    "The {p} then told the {q} that the deal was off.",
    "Nothing was said about who would bear the loss.",
    "A witness for the {q} saw what happened.",
    "The {p} was later charged with theft.",
    "At trial, the {q} offered a letter into evidence.",
)
_COURTS = (
    "If the {q} brings an action against the {p}, will the {q} prevail?",
    "Is the {q} likely to win the suit?",
    "Which of the following is the strongest argument for the {p}?",
    "How should the court rule on the motion?",
    "The {q} will most likely recover",
)
_GOODS = "tractor piano wardrobe machine boat trailer fence roof stove carpet engine painting".split()
_RULINGS = (
    "Yes, because there was a valid contract.",
    "No, because the promise was never put in writing.",
    "Yes, because a reasonable person would have taken care.",
    "No, because the loss could not be foreseen.",
    "The motion should be denied.",
    "The motion should be granted.",
    "Yes, if the jury finds that the witness is credible.",
    "No, unless notice was given in time.",
)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def lay_out(random: Random, question: str, options: list[str]) -> str:
    """A question and its options, in one of the usual layouts, sometimes with the answer."""
    layout = random.choice(_LAYOUTS)
    lines = [layout.format(l="ABCDEFGH"[i], n=i + 1, o=option) for i, option in enumerate(options)]
    lead = random.choice(("", "", "", "Question: ", "Q: ", f"{random.randint(1, 40)}. "))
    tail = random.choice(("", "", "", f"\nAnswer: {random.choice('ABCD')}", "\nAnswer:", "\nThe correct answer is B."))
    heading = random.choice(("", "", "Options:\n", "Choices:\n"))
    return f"{lead}{question}\n{heading}" + "\n".join(lines) + tail


def write_choice(random: Random) -> str:
    """A multiple-choice question on a concept."""
    table = concepts()
    subject = random.choice(sorted(table))
    terms = random.sample(table[subject], 4)
    term, definition, effect = terms[0]
    if random.random() < 0.55:
        stem = random.choice(_STEMS).format(t=term, T=_capital(term), s=subject)
        options = [row[1] for row in terms]
    else:
        stem = random.choice(_EFFECTS).format(e=effect, d=definition)
        options = [row[0] for row in terms]
    random.shuffle(options)
    if random.random() < 0.2:
        options[-1] = random.choice(_CLOSERS)
    if random.random() < 0.5:
        options = [_capital(option) + "." for option in options]
    return lay_out(random, stem, options)


def write_statements(random: Random) -> str:
    """Statements to judge."""
    table = concepts()
    first, second = random.sample(table[random.choice(sorted(table))], 2)
    one = f"{first[0]} is {random.choice((first, second))[1]}"
    two = f"{second[0]} {second[2]}"
    question = random.choice(_STATEMENTS).format(a=one, A=_capital(one), B=_capital(two))
    return lay_out(random, question, random.sample(_VERDICTS, 4)) if random.random() < 0.5 else question


def write_short_answer(random: Random) -> str:
    """A question on a concept with an answer in a sentence or two."""
    table = concepts()
    subject = random.choice(sorted(table))
    (term, definition, effect), (other, meaning, _) = random.sample(table[subject], 2)
    return random.choice(
        (
            f"What is {term}? {_capital(term)} is {definition}. It {effect}.",
            f"Explain the difference between {term} and {other}.\n{_capital(term)} is {definition}, "
            f"whereas {other} is {meaning}.",
            f"Define {term} in one sentence and give an example.",
            f"Why is {term} important in {subject}? Because it {effect}.",
            f"Q: What do we call {definition}?\nA: {_capital(term)}.",
            f"Compare and contrast {term} with {other}. What do they have in common?",
            f"How does {term} work? Please explain it to a beginner in {subject}.",
            f"Describe {term} to a child of {random.randint(6, 12)} years. Use simple words and a short example.",
            f"In your own words, explain why {term} {effect}.",
            f"{_capital(term)} is {definition}. What is an example of this from everyday life?",
        )
    )


def write_clinic(random: Random) -> str:
    """A patient, some findings and a question."""
    age, person = random.randint(4, 89), random.choice(_PEOPLE)
    when = random.choice(("a 2-day history of", "a 3-week history of", "several months of", "a sudden onset of"))
    sign = random.choice(_SIGNS)
    opening = random.choice(
        (
            f"A {age}-year-old {person} comes to the physician because of {sign}.",
            f"A {age}-year-old {person} is brought to the emergency department with {when} {sign}.",
            f"A {age}-year-old {person} comes to the office with {when} {sign}.",
        )
    )
    values = {"p": random.randint(58, 120), "b": random.randint(100, 170), "n": random.randint(2, 40)}
    found = " ".join(text.format_map(values) for text in random.sample(_FINDINGS, random.randint(1, 4)))
    diseases = [row[0] for row in concepts()["medicine"]]
    return lay_out(
        random, f"{opening} {found} {random.choice(_CLINIC)}", [_capital(d) for d in random.sample(diseases, 4)]
    )


def write_case(random: Random) -> str:
    """A quarrel between two parties and a question for the court."""
    one, other = random.sample(_PARTIES, 2)
    values = {"p": one, "q": other, "n": random.randint(2, 90), "g": random.choice(_GOODS)}
    parts = [random.choice(_DEALS), *random.sample(_TURNS, random.randint(1, 2)), random.choice(_COURTS)]
    return lay_out(random, " ".join(parts).format_map(values), random.sample(_RULINGS, 4))

"""Word problems with worked answers: numbers from `arithmetic`, sentences from `problem_plans`."""

from __future__ import annotations

from random import Random

from .arithmetic import SYMBOL, Step, draw_operands, work_equations
from .people import DAYS, HE, RELATIONS, SCENES, SHE, WHENS
from .problem_plans import OPENERS, PLANS, Plan
from .topics import TOPICS, singular
from .two_step_plans import TWO_STEPS

OPERATIONS = ("addition", "subtraction", "multiplication", "division", "two steps")
DIFFICULTIES = ("easy", "medium", "hard")

_FIRSTS = ("First, ", "First step: ", "Start with ", "Begin with ", "Step 1: ", "To start, ", "")
_THENS = ("Then ", "Next, ", "Second step: ", "After that, ", "Step 2: ", "Now ")
_SPLITS = (
    "Split the number: {}.",
    "Use place values: {}.",
    "Break it up: {}.",
    "It helps to split: {}.",
    "Take it apart: {}.",
    "First, {}.",
)
_MIDDLES = (" Then {}.", " Next, {}.", " Now {}.", " Step by step: {}.", " After that, {}.")
_RESULTS = (" So {}.", " This gives {}.", " That means {}.", " In short, {}.", " Therefore {}.", " Hence {}.")


def draw_variables(rng: Random) -> dict[str, str]:
    """Draw topic, operation and difficulty."""
    return {
        "topic": rng.choice(list(TOPICS)),
        "operation": rng.choice(OPERATIONS),
        "difficulty": rng.choice(DIFFICULTIES),
    }


def write_problem(rng: Random, topic: str, operation: str, difficulty: str) -> str:
    """Write `Question: …\\nAnswer: …\\n#### n` for the given variables."""
    words = _draw_words(rng, topic)
    if operation == "two steps":
        plan, numbers, first, second = _draw_two_steps(rng, difficulty)
        solution, result = _solve_two(rng, first, second), second.result
    else:
        step = draw_operands(rng, SYMBOL[operation], difficulty)
        plan, numbers, result = rng.choice(PLANS[operation]), {"a": step.left, "b": step.right}, step.result
        solution = _solve_one(rng, step)
    statements, questions, closings = plan
    words.update({name: str(value) for name, value in numbers.items()})
    question = " ".join((rng.choice(statements), rng.choice(questions))).format_map(words)
    if rng.random() < 0.35:
        scenes = [s for s in SCENES if "{t}" not in s or not topic.startswith(("a ", "the "))]
        question = rng.choice(scenes).format_map(words) + " " + question
    closing = rng.choice(closings).format_map({**words, "r": str(result)})
    if rng.random() < 0.8:
        solution += " " + closing[0].upper() + closing[1:]
    return f"Question: {question}\nAnswer: {solution}\n#### {result}"


def _draw_words(rng: Random, topic: str) -> dict[str, str]:
    nouns = TOPICS[topic]
    thing, other = rng.sample(nouns.things, 2)
    containers = [word for word in nouns.containers if word not in (thing, other)]
    container = rng.choice(containers)
    is_she = rng.random() < 0.5
    name = rng.choice(SHE if is_she else HE)
    friend = rng.choice([n for n in rng.choice((SHE, HE)) if n != name])
    first_day, second_day = rng.sample(range(7), 2)
    he, his, him = ("she", "her", "her") if is_she else ("he", "his", "him")
    return {
        "N": name,
        "M": friend,
        "o": thing,
        "p": other,
        "o1": singular(thing),
        "C": container,
        "c1": singular(container),
        "L": rng.choice(nouns.places),
        "F": rng.choice(RELATIONS),
        "W": rng.choice(WHENS),
        "t": topic,
        "D": DAYS[min(first_day, second_day)],
        "E": DAYS[max(first_day, second_day)],
        "he": he,
        "his": his,
        "him": him,
        "He": he.title(),
        "His": his.title(),
    }


def _join(equations: list[str], rng: Random) -> str:
    if len(equations) == 1:
        return equations[0]
    return ", ".join(equations[:-1]) + rng.choice((" and ", ", ")) + equations[-1]


def _write_work(rng: Random, step: Step) -> str:
    """The easier equations as sentences, ending with a space; empty where the calculation is direct."""
    work = work_equations(step)
    if not work:
        return ""
    return rng.choice(_SPLITS).format(work[0]) + rng.choice(_MIDDLES).format(_join(work[1:], rng))


def _solve_one(rng: Random, step: Step) -> str:
    work = _write_work(rng, step)
    if work:
        return work + rng.choice(_RESULTS).format(step.equation)
    style = rng.random()
    if style < 0.55:
        return f"{rng.choice(OPENERS[step.op])}: {step.equation}."
    return f"{step.equation}." if style < 0.8 else rng.choice(_RESULTS).format(step.equation).strip()


def _solve_two(rng: Random, first: Step, second: Step) -> str:
    work = _write_work(rng, first)
    opening = work + rng.choice(_RESULTS).format(first.equation) if work else f"{rng.choice(_FIRSTS)}{first.equation}."
    later = _write_work(rng, second)
    if later:
        return f"{opening} {later}{rng.choice(_RESULTS).format(second.equation)}"
    return f"{opening} {rng.choice(_THENS)}{second.equation}."


def _draw_two_steps(rng: Random, difficulty: str) -> tuple[Plan, dict[str, int], Step, Step]:
    level = DIFFICULTIES.index(difficulty)
    while True:
        op1, op2, plans = rng.choice(TWO_STEPS)
        if op2 == "÷":
            if level == 2:
                continue
            share, parts = rng.randint(2, 8), rng.randint(2, 5)
            left = rng.randint(1, share * parts - 1) if share * parts < 4 else rng.randint(2, share * parts - 2)
            first = Step("+", left, share * parts - left)
            third = parts
        elif op2 == "×":
            low, high = ((2, 5), (2, 6), (7, 25))[level]
            first = Step("+", rng.randint(low, high), rng.randint(low, high))
            third = rng.randint(*((2, 5), (3, 9), (3, 9))[level])
        elif op1 in "+-" and level == 2:
            first = Step(op1, rng.randint(120, 480), rng.randint(15, 95))
            third = rng.randint(11, 90)
        else:
            first = draw_operands(rng, op1, difficulty)
            third = rng.randint(*((2, 9), (5, 40), (11, 90))[level])
        second = Step(op2, first.result, third)
        if op2 == "-" and second.result < 1:
            continue
        return rng.choice(plans), {"a": first.left, "b": first.right, "c": third}, first, second

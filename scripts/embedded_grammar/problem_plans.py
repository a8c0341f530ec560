"""Sentence plans of word problems with one operation.

Placeholders: {a} {b} {c} numbers, {N} {M} names, {o} {p} things, {o1} one thing, {C} containers, {c1} one container,
{L} place, {F} relation, {D} {E} days, {W} a time, {he} {his} {him} {He} {His} pronouns, {r} the result. A plan is
(statements, questions, closings): any statement goes with any question and closing of its plan.
"""

from __future__ import annotations

Plan = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]

ADDITION: tuple[Plan, ...] = (
    (
        (
            "{N} has {a} {o}. {His} {F} gives {him} {b} more.",
            "{N} starts the {W} with {a} {o} and finds {b} more at the {L}.",
            "{N} buys {a} {o} on {D} and {b} more {o} on {E}.",
            "There are {a} {o} in {N}'s {c1}. {He} puts {b} more in.",
            "{N} already owns {a} {o}. For {his} birthday {he} gets another {b}.",
            "{N} collected {a} {o} before lunch. After lunch {he} collected {b} more.",
            "{M} hands {N} {b} {o}. {N} had {a} {o} before that.",
            "{N} made {a} {o} in the first hour and {b} in the second.",
        ),
        (
            "How many {o} does {N} have now?",
            "How many {o} does {N} have in total?",
            "How many {o} is that for {N} altogether?",
            "What is the total number of {o} that {N} has?",
        ),
        ("{N} has {r} {o}.", "That makes {r} {o}.", "So there are {r} {o} in total.", "{N} now has {r} {o}."),
    ),
    (
        (
            "{N} has {a} {o} and {M} has {b}.",
            "{N} brought {a} {o} to the {L}. {M} brought {b}.",
            "At the {L}, {N} counted {a} {o} while {M} counted {b} others.",
            "{N} sold {a} {o} and {his} {F} sold {b}.",
            "{M} packed {b} {o}, and {N} packed {a}.",
            "{N} carries {a} {o}. {M} carries {b} {o}.",
            "On {D}, {N} prepared {a} {o} and {M} prepared {b} {o}.",
        ),
        (
            "How many {o} do they have together?",
            "How many {o} is that altogether?",
            "How many {o} are there in all?",
            "What is their total number of {o}?",
            "If they put them together, how many {o} are there?",
        ),
        (
            "Together they have {r} {o}.",
            "The total is {r} {o}.",
            "There are {r} {o} in all.",
            "That is {r} {o} altogether.",
        ),
    ),
    (
        (
            "The {L} has {a} {o} and {b} {p}.",
            "{N} put {a} {o} and {b} {p} on a table.",
            "A {c1} holds {a} {o} and {b} {p}.",
            "At the {L}, {N} saw {a} {o} and {b} {p}.",
            "{N} ordered {a} {o} and {b} {p} for the {L}.",
            "For the {W}, the {L} needs {a} {o} and also {b} {p}.",
        ),
        (
            "How many things is that in total?",
            "How many items are there altogether?",
            "How many {o} and {p} are there in all?",
            "What is the number of {o} and {p} together?",
        ),
        ("There are {r} items altogether.", "That is {r} things in total.", "In all, there are {r} {o} and {p}."),
    ),
    (
        (
            "{N} has {a} {o}. {M} has {b} more {o} than {N}.",
            "On {D} the {L} sold {a} {o}. On {E} it sold {b} more than on {D}.",
            "{N} counted {a} {o}, and {M} counted {b} more than {N} did.",
            "{N} needs {a} {o}. {M} needs {b} more than that.",
        ),
        (
            "How many {o} is the larger number?",
            "What is the larger number of {o}?",
            "How many {o} are in the larger count?",
        ),
        ("The larger number is {r}.", "So the larger number of {o} is {r}.", "That gives {r} {o}."),
    ),
    (
        (
            "A {c1} of {o} costs ${a} and a {c1} of {p} costs ${b}. {N} buys both.",
            "{N} pays ${a} for {o} and ${b} for {p}.",
            "{N} spends ${a} on {o} at the {L}. Then {he} spends ${b} on {p}.",
            "The {L} takes in ${a} from {o} and ${b} from {p} on {D}.",
        ),
        (
            "How much money is that in all?",
            "How many dollars is that altogether?",
            "What is the total in dollars?",
            "What is the whole sum in dollars?",
        ),
        ("The total is {r} dollars.", "That is {r} dollars in all.", "The sum comes to {r} dollars."),
    ),
)

SUBTRACTION: tuple[Plan, ...] = (
    (
        (
            "{N} has {a} {o}. {He} gives {b} of them to {his} {F}.",
            "{N} had {a} {o} this {W}, but {he} lost {b} of them.",
            "There were {a} {o} in the {c1}. {N} took out {b}.",
            "{N} brought {a} {o} to the {L} and sold {b} of them.",
            "The {L} had {a} {o}. By {D}, {b} of them were gone.",
            "{N} made {a} {o}. {M} took {b} of them home.",
            "Out of {a} {o}, {b} were broken and had to go.",
            "{N} started with {a} {o} and used {b} of them on {D}.",
            "{M} borrows {b} {o} from {N}, who had {a}.",
        ),
        (
            "How many {o} are left?",
            "How many {o} remain?",
            "How many {o} are there now?",
            "What number of {o} is left over?",
        ),
        ("There are {r} {o} left.", "So {r} {o} remain.", "That leaves {r} {o}.", "{r} {o} are left."),
    ),
    (
        (
            "{N} has {a} {o} and {M} has {b}.",
            "{N} counted {a} {o} at the {L}. {M} counted only {b}.",
            "On {D} the {L} sold {a} {o}, and on {E} it sold {b}.",
            "One {c1} holds {a} {o}. Another holds {b}.",
            "There are {a} {o} but only {b} {p} at the {L}.",
            "{M} found {b} {o}, while {N} found {a}.",
        ),
        (
            "What is the difference?",
            "How large is the difference between the two numbers?",
            "How many more is the larger number than the smaller one?",
            "By how many do the two counts differ?",
        ),
        (
            "The difference is {r}.",
            "So the difference is {r}.",
            "They differ by {r}.",
            "The larger number is {r} more.",
        ),
    ),
    (
        (
            "{N} needs {a} {o} for the {L}. {He} already has {b}.",
            "{N} wants to collect {a} {o} and has {b} so far.",
            "The {L} ordered {a} {o}, but only {b} have arrived.",
            "A {c1} has room for {a} {o}. There are {b} in it already.",
            "{N} plans to make {a} {o}. By this {W}, {b} are ready.",
            "To fill the {c1}, {N} must find {a} {o}. {He} has found {b}.",
        ),
        ("How many {o} are still missing?", "How many more {o} are needed?", "How many {o} are still to come?"),
        ("{r} {o} are still missing.", "So {r} more {o} are needed.", "There are {r} {o} still to come."),
    ),
    (
        (
            "{N} has ${a} and spends ${b} on {o}.",
            "A {c1} of {o} used to cost ${a}. Now it is ${b} cheaper.",
            "{N} saved ${a}. At the {L}, {he} pays ${b} for {o}.",
            "{N} pays for {o} that cost ${b} with ${a}.",
        ),
        ("How many dollars is that now?", "How many dollars remain?", "What amount in dollars is left?"),
        ("That leaves {r} dollars.", "So {r} dollars remain.", "The amount left is {r} dollars."),
    ),
    (
        (
            "There are {a} {o} and {p} at the {L}. {b} of them are {p}.",
            "{N} packed {a} {o} and {p} in all, and {b} were {p}.",
            "A {c1} holds {a} things. {b} are {p} and the rest are {o}.",
            "{N} and {M} have {a} {o} together. {b} of them are not for sale, the others are.",
        ),
        ("How many {o} is the rest?", "How many make up the rest?", "How many {o} are in the other part?"),
        ("The rest is {r}.", "So the other part is {r} {o}.", "That makes {r} in the other part."),
    ),
)

MULTIPLICATION: tuple[Plan, ...] = (
    (
        (
            "There are {a} {C} at the {L}. Each {c1} holds {b} {o}.",
            "{N} fills {a} {C} with {b} {o} each.",
            "{N} buys {a} {C} of {o}. Every {c1} has {b} in it.",
            "The {L} has {a} {C}, with {b} {o} in each one.",
            "{N} sets up {a} {C} and puts {b} {o} into each.",
            "Each {c1} contains {b} {o}. {N} carries {a} {C}.",
            "{M} counts {a} {C} at the {L}. In every one there are {b} {o}.",
        ),
        (
            "How many {o} are there in all?",
            "How many {o} is that altogether?",
            "What is the total number of {o}?",
            "How many {o} are there in total?",
        ),
        ("There are {r} {o} in all.", "That makes {r} {o}.", "The total is {r} {o}.", "So there are {r} {o}."),
    ),
    (
        (
            "{N} makes {b} {o} every day for {a} days.",
            "Each day the {L} sells {b} {o}. It is open {a} days.",
            "For {a} weeks, {N} collects {b} {o} a week.",
            "{N} can pack {b} {o} in an hour. {He} works for {a} hours.",
            "Every {W}, {N} counts {b} {o}. {He} does this {a} times.",
            "{M} uses {b} {o} a day. This goes on for {a} days.",
        ),
        (
            "How many {o} is that in all?",
            "How many {o} is that altogether?",
            "What number of {o} is that in total?",
            "How many {o} does that come to?",
        ),
        ("That is {r} {o} in all.", "It comes to {r} {o}.", "The total is {r} {o}.", "So it is {r} {o}."),
    ),
    (
        (
            "One {o1} costs ${b}. {N} buys {a} of them.",
            "{N} buys {a} {o} for ${b} each.",
            "The {L} sells {a} {o} at ${b} each.",
            "{N} pays ${b} for every {o1} and takes {a} {o}.",
            "The price of one {o1} is ${b}. {M} and {N} need {a} {o}.",
        ),
        ("How much do they cost in all?", "How many dollars is that in total?", "What is the total price in dollars?"),
        ("The total price is {r} dollars.", "That is {r} dollars.", "They cost {r} dollars."),
    ),
    (
        (
            "{a} children at the {L} get {b} {o} each.",
            "{N} gives {b} {o} to each of {his} {a} friends.",
            "{a} people come to the {L}. Each of them brings {b} {o}.",
            "{N} hands out {b} {o} to every one of {a} visitors.",
            "At the {L}, each of the {a} helpers carries {b} {o}.",
            "There are {a} teams at the {L}, and each team needs {b} {o}.",
        ),
        ("How many {o} is that in all?", "How many {o} are there altogether?", "What is the total number of {o}?"),
        ("That is {r} {o} altogether.", "There are {r} {o}.", "So the total is {r} {o}."),
    ),
    (
        (
            "{M} has {b} {o}. {N} has {a} times as many.",
            "On {D} the {L} had {b} {o}. On {E} it had {a} times as many.",
            "A small {c1} holds {b} {o}. A large one holds {a} times as many.",
            "{M} found {b} {o}, and {N} found {a} times that number.",
        ),
        ("What is the larger number?", "How many {o} is the larger number?", "How many {o} make up the larger count?"),
        ("The larger number is {r}.", "So the larger count is {r} {o}.", "That gives {r} {o}."),
    ),
)

DIVISION: tuple[Plan, ...] = (
    (
        (
            "{N} shares {a} {o} equally among {b} friends.",
            "{a} {o} are put into {b} {C}, the same number in each.",
            "{N} packs {a} {o} evenly into {b} {C}.",
            "There are {a} {o} at the {L}. They are split evenly between {b} groups.",
            "{b} children share {a} {o} fairly.",
            "{N} spreads {a} {o} over {b} {C} so that each has the same number.",
            "At the {L}, {a} {o} are divided equally among {b} helpers.",
            "{N} has {a} {o} and {b} {C}. Each {c1} gets the same number of {o}.",
        ),
        (
            "How many {o} does each get?",
            "How many {o} go to each?",
            "How many {o} is one share?",
            "What is the number of {o} in each share?",
        ),
        ("Each share is {r} {o}.", "So each gets {r} {o}.", "That is {r} {o} each.", "One share is {r} {o}."),
    ),
    (
        (
            "{N} has {a} {o}. {b} of them fit into one {c1}.",
            "A {c1} holds {b} {o}. There are {a} {o} at the {L}.",
            "{N} ties {a} {o} into bundles of {b}.",
            "{a} {o} are sorted into groups of {b} at the {L}.",
            "{N} puts {a} {o} into {C} of {b}.",
            "Each {c1} at the {L} takes {b} {o}. {N} brings {a} {o}.",
        ),
        ("How many groups does that make?", "How many groups are there?", "How many full groups does it give?"),
        ("It makes {r} groups.", "So there are {r} groups.", "That gives {r} groups."),
    ),
    (
        (
            "{N} uses {b} {o} a day. {He} has {a} {o}.",
            "The {L} sells {b} {o} each day and has {a} in stock.",
            "{N} makes {b} {o} an hour. {He} needs {a} {o}.",
            "{M} must move {a} {o} and moves {b} on each trip.",
        ),
        ("For how many rounds is that enough?", "How many times is that?", "How many such rounds are there?"),
        ("That is {r} times.", "It is enough for {r} rounds.", "So the answer is {r} rounds."),
    ),
    (
        (
            "{N} pays ${a} for {b} {o} that all cost the same.",
            "{b} {o} cost ${a} in all. Each has the same price.",
            "The {L} takes ${a} for {b} equal {C} of {o}.",
            "{N} and {M} pay ${a} for {b} {o}.",
        ),
        ("What is the price of one?", "How many dollars is one of them?", "How much does each of them cost?"),
        ("One costs {r} dollars.", "Each costs {r} dollars.", "The price of one is {r} dollars."),
    ),
)

PLANS = {"addition": ADDITION, "subtraction": SUBTRACTION, "multiplication": MULTIPLICATION, "division": DIVISION}

OPENERS = {
    "+": (
        "Add the numbers",
        "We add",
        "Put the two amounts together",
        "The total is a sum",
        "Add them up",
        "Count both parts together",
    ),
    "-": (
        "Take the smaller number away",
        "We subtract",
        "Take away",
        "The rest is a difference",
        "Subtract the second number",
        "Find what is left",
    ),
    "×": (
        "Multiply",
        "We multiply",
        "There are equal groups, so multiply",
        "Each group is the same size, so we multiply",
        "Use multiplication",
    ),
    "÷": ("Divide", "We divide", "Equal shares mean division", "Split the number into equal parts", "Use division"),
}

"""Sentence plans of word problems with two operations; placeholders as in `problem_plans`, {c} is the third number."""

from __future__ import annotations

from .problem_plans import Plan

# First operation, second operation, plans.
TWO_STEPS: tuple[tuple[str, str, tuple[Plan, ...]], ...] = (
    (
        "×",
        "+",
        (
            (
                (
                    "{N} has {a} {C} with {b} {o} in each. {He} finds {c} more {o}.",
                    "There are {a} {C} of {b} {o} at the {L}, and {c} loose {o} on a table.",
                    "{N} makes {b} {o} a day for {a} days. {M} then adds {c} {o}.",
                    "{N} buys {a} {C} of {b} {o} each. {His} {F} gives {him} {c} more.",
                    "{a} children bring {b} {o} each to the {L}. The teacher brings {c} {o}.",
                ),
                (
                    "How many {o} are there in all?",
                    "How many {o} is that altogether?",
                    "What is the total number of {o}?",
                ),
                ("There are {r} {o} in all.", "That makes {r} {o}.", "So the total is {r} {o}."),
            ),
            (
                (
                    "{N} buys {a} {o} at ${b} each and one {c1} for ${c}.",
                    "One {o1} costs ${b}. {N} takes {a} of them, and pays ${c} for the bus home.",
                    "{N} pays ${b} for each of {a} {o} and ${c} for {p}.",
                ),
                (
                    "How many dollars is that in total?",
                    "What does {N} pay in dollars?",
                    "How much does {N} spend in all?",
                ),
                ("The total is {r} dollars.", "{N} pays {r} dollars.", "That is {r} dollars in all."),
            ),
        ),
    ),
    (
        "×",
        "-",
        (
            (
                (
                    "{N} fills {a} {C} with {b} {o} each. Then {he} gives away {c} {o}.",
                    "The {L} has {a} {C} of {b} {o}. On {D}, {c} {o} are sold.",
                    "{N} collects {b} {o} a week for {a} weeks, but loses {c} of them.",
                    "There are {a} {C} with {b} {o} in each. {M} takes {c} {o} away.",
                    "{a} friends bring {b} {o} each. By this {W}, {c} {o} have been used.",
                ),
                ("How many {o} are left?", "How many {o} remain?", "How many {o} are there at the end?"),
                ("There are {r} {o} left.", "So {r} {o} remain.", "That leaves {r} {o}."),
            ),
        ),
    ),
    (
        "+",
        "-",
        (
            (
                (
                    "{N} has {a} {o} and gets {b} more from {M}. Then {he} uses {c} of them.",
                    "On {D}, {N} found {a} {o}. On {E}, {he} found {b} more, but then lost {c}.",
                    "The {L} had {a} {o}. {b} more arrived, and {c} were sold.",
                    "{N} brings {a} {o} and {M} brings {b}. They give {c} {o} to the {L}.",
                    "A {c1} holds {a} {o} and {b} {p}. {N} takes out {c} of these things.",
                ),
                ("How many are left?", "How many remain in the end?", "What number is left at the end?"),
                ("There are {r} left.", "So {r} remain.", "That leaves {r}."),
            ),
        ),
    ),
    (
        "-",
        "+",
        (
            (
                (
                    "{N} has {a} {o}. {He} gives {b} to {M} and later buys {c} new ones.",
                    "There were {a} {o} at the {L}. {b} were sold, and then {c} new {o} came in.",
                    "{N} started with {a} {o}, lost {b} on {D} and found {c} on {E}.",
                    "Out of {a} {o}, {b} are taken away. After that {M} adds {c} {o}.",
                ),
                ("How many {o} are there now?", "How many {o} is that in the end?", "What is the number of {o} now?"),
                ("There are {r} {o} now.", "In the end there are {r} {o}.", "That makes {r} {o}."),
            ),
        ),
    ),
    (
        "+",
        "÷",
        (
            (
                (
                    "{N} has {a} {o} and {M} has {b}. They share all of them equally among {c} friends.",
                    "The {L} gets {a} {o} on {D} and {b} on {E}. They go evenly into {c} {C}.",
                    "{N} puts {a} old {o} and {b} new ones into {c} {C}, the same number in each.",
                    "{a} {o} and {b} {p} are packed into {c} {C} with equal numbers of things.",
                ),
                ("How many does each get?", "How many go to each?", "How many things are in one share?"),
                ("Each share is {r}.", "So each gets {r}.", "That is {r} each."),
            ),
        ),
    ),
    (
        "÷",
        "+",
        (
            (
                (
                    "{a} {o} are shared equally among {b} children. {N} is one of them and already has {c} {o}.",
                    "{N} packs {a} {o} evenly into {b} {C}. Then {he} adds {c} {o} to one {c1}, and counts that one.",
                    "{b} friends split {a} {o} evenly. {M} is one of them and finds {c} more {o}.",
                ),
                (
                    "How many {o} is that in the end?",
                    "How many {o} are counted then?",
                    "What is the final number of {o}?",
                ),
                ("The final number is {r} {o}.", "In the end it is {r} {o}.", "That makes {r} {o}."),
            ),
        ),
    ),
    (
        "+",
        "×",
        (
            (
                (
                    "Each of {c} {C} holds {a} {o} and {b} {p}.",
                    "{c} visitors each get {a} {o} and {b} {p} at the {L}.",
                    "Every day {N} packs {a} {o} and {b} {p}. {He} does so for {c} days.",
                ),
                (
                    "How many things is that in all?",
                    "How many items are there altogether?",
                    "What is the total number of things?",
                ),
                ("There are {r} items altogether.", "That is {r} things in all.", "So the total is {r}."),
            ),
        ),
    ),
)

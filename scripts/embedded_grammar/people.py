"""Names, relations, days and places' sentences shared by the grammars."""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

SHE = """Ada Aisha Alice Amara Amelia Amina Ana Anna Anya Astrid Ava Beatriz Bella Carla Carmen Chiara Chloe Clara
Daisy Dana Diana Elena Eliza Ella
Elsa Emma Esther Eva Farah Fatima Fiona Freya Gina Grace Greta Hana Hannah Helen Ines Ingrid Irene Iris Isabel Ivy
Jade Jana Jasmine Jenny Julia June
Karin Kate Keiko Lara Laura Leah Leila Lena Lily Lina Lola Lucia Lucy Maria Marta Maya Mei Mia Mina Mira Molly Nadia
Nina Nora Olga Olive Paula Petra
Pia Priya Rachel Rosa Ruby Ruth Salma Sara Selma Sofia Stella Tamar Tara Tess Tina Uma Vera Violet Wanda Yara Yuki
Zara Zoe""".split()

HE = """Aaron Adam Ahmed Akira Alan Albert Alex Ali Andre Anton Arjun Ben Boris Bruno Carlos Chen Chris Colin Daniel
David Diego Dmitri Edgar Eli Emil
Eric Ethan Felix Finn Frank Gabriel George Hamid Hans Harry Hassan Henry Hugo Ian Ibrahim Isaac Ivan Jack Jacob James
Jamal Jan Jonas Jose Juan Kai
Karl Kofi Kwame Lars Leo Levi Liam Louis Luca Lukas Luis Malik Marco Mark Martin Mateo Max Miguel Milo Mohamed Nathan
Neil Nico Noah Oliver Omar Oscar
Otto Owen Pablo Paul Pedro Peter Quinn Rafael Raj Ravi Rico Robin Rui Sam Samir Sean Simon Stefan Sven Tariq Theo Tim
Tom Tony Victor Viktor Will Yusuf Zack""".split()

RELATIONS = """brother sister cousin friend neighbour uncle aunt grandfather grandmother teacher classmate father
mother teammate""".split()

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

SCENES = (
    "It is {D} at the {L}.",
    "It is a busy {D} at the {L}.",
    "{N} is at the {L} today.",
    "{N} helps at the {L} every {D}.",
    "{N} likes {t}.",
    "{N} has loved {t} for years.",
    "{N} and {M} meet at the {L}.",
    "The {L} opens early on {D}.",
    "The {L} is full of people this {D}.",
    "There is a lot to do at the {L}.",
    "Everyone at the {L} is busy with {t}.",
    "On {D}, {N} goes to the {L}.",
    "{N} spends the {W} at the {L}.",
    "{N} is planning the {W} at the {L}.",
    "This {W}, the {L} is very quiet.",
    "{N} keeps a list of everything at the {L}.",
    "{N}'s {F} works at the {L}.",
    "{M} and {N} share a love of {t}.",
    "A club for {t} meets at the {L}.",
    "The weather is fine and the {L} is open.",
)

WHENS = "morning afternoon evening day week weekend".split()

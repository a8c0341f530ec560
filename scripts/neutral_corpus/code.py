"""Small programs and the requests for them: Python functions put together from parts, some SQL, shell and
JavaScript."""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

from random import Random

# name | what the docstring says | arguments | body (lines by ;; with > for a deeper level)
_FUNCTIONS = """
total_price | Return the total price of all items in the basket. | items | total = 0;;for item in items:;;\
>total += item["price"];;return total
count_lines | Return the number of lines in the given file that are not empty. | path | \
with open(path) as stream:;;>return sum(1 for line in stream if line.strip())
longest_word | Return the longest word in the given text. | text | words = text.split();;\
return max(words, key=len) if words else ""
is_leap | Check if the given year is a leap year. | year | if year % 400 == 0:;;>return True;;\
return year % 4 == 0 and year % 100 != 0
celsius | Convert a temperature from Fahrenheit to Celsius. | degrees | return (degrees - 32) * 5 / 9
read_settings | Read the settings from a JSON file and return a dictionary. | path | import json;;\
with open(path) as stream:;;>return json.load(stream)
mask_email | Replace everything before the at sign of an address by stars. | address | \
name, _, host = address.partition("@");;return "*" * len(name) + "@" + host
chunks | Split a list into lists of the given size. | values, size | \
return [values[i : i + size] for i in range(0, len(values), size)]
mean | Return the average of a list of numbers, or None if the list is empty. | numbers | if not numbers:;;\
>return None;;return sum(numbers) / len(numbers)
slug | Turn a title into a string that can stand in a URL. | title | words = title.lower().split();;\
return "-".join(words)
retry | Call a function again when it fails, up to the given number of times. | function, times | \
for i in range(times):;;>try:;;>>return function();;>except OSError:;;>>continue;;return None
transpose | Return the transpose of a matrix given as a list of rows. | matrix | \
return [list(column) for column in zip(*matrix)]
histogram | Count how often each character occurs in a string. | text | counts = {};;for character in text:;;\
>counts[character] = counts.get(character, 0) + 1;;return counts
initials | Return the initials of a full name in upper case. | name | \
return "".join(part[0].upper() for part in name.split())
within | Check whether a point lies in a rectangle. | point, box | x, y = point;;\
left, top, right, bottom = box;;return left <= x <= right and top <= y <= bottom
countdown | Print the numbers from n down to one. | n | while n > 0:;;>print(n);;>n -= 1
newest | Return the path of the newest file in a folder. | folder | files = list(folder.iterdir());;\
return max(files, key=lambda file: file.stat().st_mtime)
grade | Return the letter grade for a score between 0 and 100. | score | \
for limit, letter in ((90, "A"), (80, "B"), (70, "C")):;;>if score >= limit:;;>>return letter;;return "F"
merge_settings | Merge two dictionaries; values of the second one win. | first, second | \
result = dict(first);;result.update(second);;return result
parse_time | Turn a string such as 14:30 into minutes since midnight. | text | \
hours, minutes = text.split(":");;return int(hours) * 60 + int(minutes)
dedupe | Remove repeated rows while keeping the order. | rows | seen = set();;result = [];;for row in rows:;;\
>if row not in seen:;;>>seen.add(row);;>>result.append(row);;return result
interest | Compute the balance after some years of compound interest. | start, rate, years | balance = start;;\
for year in range(years):;;>balance *= 1 + rate;;return round(balance, 2)
tail | Return the last n lines of a text. | text, n | lines = text.splitlines();;return "\\n".join(lines[-n:])
shipping | Return the shipping fee for a parcel by weight and zone. | weight, zone | \
fee = 4.5 if zone == "home" else 9.0;;if weight > 10:;;>fee += 3;;return fee
"""
_HINTS = {
    "items": "list[dict]",
    "path": "str",
    "text": "str",
    "year": "int",
    "degrees": "float",
    "values": "list",
    "size": "int",
    "numbers": "List[float]",
    "title": "str",
    "n": "int",
    "score": "int",
    "name": "str",
    "rate": "float",
    "years": "int",
}
_REQUESTS = (
    "Write a function that does the following: {d}",
    "Write a Python function {n}({a}) with this behavior: {d}",
    "Implement the function below.\n\n{c}",
    "Complete the following Python function.\n\n{h}",
    "{c}",
    "{c}",
    "Explain what this code does.\n\n```python\n{c}\n```",
    "Find the bug in the following program:\n\n{c}",
    "Refactor this function so that it is easier to read:\n\n```\n{c}\n```",
    "Here is one way to do it in Python:\n\n{c}\n\nThe function takes {a} and works as follows. {d}",
    "Write unit tests for this function. {d}",
    "Write a program in Java that does this: {d}",
    "from typing import List\n\n\n{c}",
)
_TABLES = "orders customers products invoices employees flights books rooms".split()
_COLUMNS = "name price city created_at quantity status country email".split()
_OTHERS = (
    "SELECT {c}, COUNT(*) FROM {t} WHERE {d} > {n} GROUP BY {c} ORDER BY COUNT(*) DESC LIMIT {m};",
    "Write an SQL query that returns the {c} of all {t} with more than {n} rows.",
    "UPDATE {t} SET {c} = 'unknown' WHERE {c} IS NULL;",
    "const {t} = await fetch('/api/{t}').then((response) => response.json());\nconsole.log({t}.length);",
    "function sum{T}({t}) {{\n  return {t}.reduce((total, item) => total + item.{d}, 0);\n}}",
    'for file in *.csv; do\n  wc -l "$file" >> {t}.txt\ndone',
    "git checkout -b fix-{t}\ngit commit -am 'Fix the {c} of {t}'",
    "class {T}:\n    def __init__(self, {c}, {d}):\n        self.{c} = {c}\n        self.{d} = {d}",
    "import pandas as pd\n\n{t} = pd.read_csv('{t}.csv')\nprint({t}.groupby('{c}')['{d}'].mean())",
    'if __name__ == "__main__":\n    main()',
    "What is the time complexity of looking up a {c} in a sorted list of n {t}?",
    "How do I sort a list of {t} by {c} in Python?",
    'What does the error message "list index out of range" mean?',
    "try:\n    {t} = load('{c}')\nexcept FileNotFoundError:\n    {t} = []",
)


def write_code(random: Random) -> str:
    """A program, or a request for one."""
    if random.random() < 0.35:
        first, second = random.sample(_COLUMNS, 2)
        table = random.choice(_TABLES)
        values = {"t": table, "T": table.title(), "c": first, "d": second, "n": random.randint(2, 99), "m": 10}
        return random.choice(_OTHERS).format_map(values)
    name, text, arguments, body = random.choice(_FUNCTIONS.strip().splitlines()).split(" | ")
    head, lines = _draw_head(random, name, arguments), []
    for line in body.split(";;"):
        depth = len(line) - len(line.lstrip(">"))
        lines.append("    " * (depth + 1) + line[depth:])
    quotes = random.choice(('"""', '"""', "'''"))
    docstring = f"    {quotes}{text}{quotes}\n" if random.random() < 0.8 else ""
    if docstring and random.random() < 0.3:
        docstring = f"    {quotes}{text}\n\n    >>> {name}({random.choice(('[]', '1', repr('abc')))})\n    {quotes}\n"
    code = f"{head}\n{docstring}" + "\n".join(lines)
    values = {"d": text, "n": name, "a": arguments, "c": code, "h": f"{head}\n{docstring}".rstrip()}
    form = random.choice(_REQUESTS)
    for key, value in values.items():
        form = form.replace("{" + key + "}", value)
    return form


def _draw_head(random: Random, name: str, arguments: str) -> str:
    if random.random() < 0.5:
        return f"def {name}({arguments}):"
    hinted = ", ".join(f"{part}: {_HINTS.get(part, 'object')}" for part in arguments.split(", "))
    return f"def {name}({hinted}) -> {random.choice(('int', 'str', 'float', 'bool', 'list', 'None'))}:"

"""Other ways to write a Python function: names, layout, quotes, type hints, docstring; behaviour stays.

`code` is a whole module: the prompt of a programming test and its solution. SyntaxError where it is none.
"""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

import ast
import builtins
import io
import keyword
import re
import tokenize
from collections.abc import Mapping
from random import Random

_FRESH = """data items seq arr vals src acc out cur prev tmp total count idx pos left right low high first second head
tail key val elem node word text part chunk flag found best limit size width span step mark rest pool bag log
buf""".split()
_FUNCTIONS = """solve compute process handle work_out evaluate derive perform_task do_job calculate_it get_result
run_case
transform_input helper answer_for""".split()
_FIELDS = re.compile(r"^(\s*)(.*)$")


def reindent(code: str, random: Random) -> str:
    """Another width of indentation (2, 3, 8 blanks or a tab), other blank lines, no blanks at line ends."""
    unit = random.choice(["  ", "\t", "   ", "        "])
    lines = []
    for line in code.splitlines():
        blanks = len(line) - len(line.lstrip(" "))
        lines.append(unit * (blanks // 4) + " " * (blanks % 4) + line.strip(" ") if line.strip() else "")
    text = "\n".join(line.rstrip() for line in lines)
    return re.sub(r"\n{2,}", lambda _: random.choice(["\n", "\n\n"]), text).strip("\n") + "\n"


def restyle(code: str, random: Random) -> str:
    """Type hints dropped, layout as `ast.unparse` gives it, double quotes where single ones stood."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs):
                argument.annotation = None
    tree.body = [node for node in tree.body if not (isinstance(node, ast.ImportFrom) and node.module == "typing")]
    return _swap_quotes(ast.unparse(tree)) + "\n"


def _swap_quotes(code: str) -> str:
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        text = token.string
        if token.type == tokenize.STRING and re.fullmatch(r"'[^'\"\\]*'", text):
            text = f'"{text[1:-1]}"'
        tokens.append(token._replace(string=text))
    return tokenize.untokenize(tokens)


def strip_comments(code: str, random: Random) -> str:
    """Without docstrings and comments."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
    return ast.unparse(tree) + "\n"


def rename(code: str, random: Random) -> str:
    """Every name that the code defines (functions, arguments, variables) becomes another one."""
    tree = ast.parse(code)
    functions, variables = _defined(tree)
    fresh = random.sample(_FRESH, len(_FRESH))
    taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    fresh = [name for name in fresh if name not in taken]
    names = {name: f"{random.choice(_FUNCTIONS)}{i or ''}" for i, name in enumerate(functions)}
    names.update({name: fresh[i] if i < len(fresh) else f"v{i}" for i, name in enumerate(variables)})
    return _replace_names(code, names)


def _defined(tree: ast.AST) -> tuple[list[str], list[str]]:
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    variables = [node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)]
    stored = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    variables += [node.id for node in stored]
    kept = [name for name in dict.fromkeys(variables) if name not in functions and not hasattr(builtins, name)]
    return list(dict.fromkeys(functions)), kept


def _replace_names(code: str, names: Mapping[str, str]) -> str:
    """Names in the code, after no dot, and the function's name in its docstring's examples."""
    previous = ""
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        text = token.string
        if token.type == tokenize.NAME and previous != "." and not keyword.iskeyword(text):
            text = names.get(text, text)
        elif token.type == tokenize.STRING and text.startswith(('"""', "'''")):
            text = re.sub(r"\b\w+\b(?=\()", lambda found: names.get(found[0], found[0]), text)
        previous = token.string
        tokens.append((token.type, text))
    return _relayout(code, tokens)


def _relayout(code: str, renamed: list[tuple[int, str]]) -> str:
    """The code with its tokens' texts replaced in place, so that the layout stays."""
    lines = code.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    pieces, at = [], 0
    for token, (_, text) in zip(tokenize.generate_tokens(io.StringIO(code).readline), renamed, strict=True):
        if token.type in (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER):
            continue
        start = starts[token.start[0] - 1] + token.start[1]
        end = starts[token.end[0] - 1] + token.end[1]
        pieces += [code[at:start], text]
        at = end
    return "".join([*pieces, code[at:]])


def rewrite(code: str, random: Random) -> str:
    """All of it: renamed, without docstring, comments and type hints, other quotes and indentation."""
    return reindent(restyle(strip_comments(rename(code, random), random), random), random)


def describe(prompt: str, random: Random) -> str | None:
    """The docstring as an instruction in prose, without examples; None where there is no docstring."""
    tree = ast.parse(prompt.rstrip() + "\n    pass\n")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    text = ast.get_docstring(functions[-1]) if functions else None
    if not text:
        return None
    prose = re.split(r"\n\s*(?:>>>|Example|For example|\[input|Note)|>>>|\bExamples?:", text)[0]
    prose = " ".join(prose.split())
    lead = random.choice(
        ["Write a Python function that does the following.", "Implement this in Python.", "Coding task:"]
    )
    return f"{lead} {prose}" if prose else None

"""Prompts: rendering, purity, the sandbox, includes, front matter, and every fault with its file and line."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import Place, RecipeError
from factory.prompts import check_names, evaluate, load_template, names_in, render, render_text
from factory.types import Message


def place(*keys: str | int, message: str, hint: str = "") -> Place:
    return Place("recipe.yaml", 10, ".".join(map(str, ("prompt", *keys))), message, hint)


def load(value: Any, base: Path) -> Any:
    return load_template(value, base, place=place)


def write(base: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)


def faults(action: Callable[[], object]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        action()
    return [str(one) for one in caught.value.places]


def texts(value: Any, base: Path, scope: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in render(load(value, base), scope).messages]


# What is rendered


def test_an_inline_text_is_one_user_message_stripped(tmp_path: Path) -> None:
    prompt = render(load("\n  Name a {{ thing }}.\n\n", tmp_path), {"thing": "fruit"})
    assert prompt.messages == (Message("user", "Name a fruit."),)


def test_blocks_leave_no_blank_lines(tmp_path: Path) -> None:
    text = "A\n{% for word in words %}\n    {% if word != 'no' %}\n{{ word }}\n    {% endif %}\n{% endfor %}\nZ\n"
    assert texts(text, tmp_path, {"words": ["one", "no", "two"]}) == [("user", "A\none\ntwo\nZ")]


def test_a_path_is_relative_to_the_recipe_then_shipped(tmp_path: Path) -> None:
    write(tmp_path, {"own.j2": "own {{ x }}"})
    assert texts("own.j2", tmp_path, {"x": 1}) == [("user", "own 1")]
    scope = {"topic": "trains", "operation": "addition", "difficulty": "easy"}
    for name in ("word-problem.j2", "prompts/word-problem.j2", "word-problem.j2\n"):
        assert "about trains" in texts(name, tmp_path, scope)[0][1]
    write(tmp_path, {"word-problem.j2": "mine"})
    assert texts("word-problem.j2", tmp_path, {}) == [("user", "mine")]


def test_front_matter_gives_system_and_few_shot_messages(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "p.md": "---\nsystem: You know {{ field }}.\nmessages:\n  - {role: user, content: 'Name a {{ thing }}.'}\n"
            "  - role: assistant\n    content: |\n      Pear\n---\nName another {{ thing }}.\n"
        },
    )
    assert texts("p.md", tmp_path, {"field": "plants", "thing": "fruit"}) == [
        ("system", "You know plants."),
        ("user", "Name a fruit."),
        ("assistant", "Pear"),
        ("user", "Name another fruit."),
    ]


def test_messages_may_be_paths_and_an_empty_system_message_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"system.txt": "{% if strict %}Be strict.{% endif %}"})
    value = [{"role": "system", "content": "system.txt"}, {"role": "user", "content": "Hi {{ name }}"}]
    assert texts(value, tmp_path, {"strict": True, "name": "A"}) == [("system", "Be strict."), ("user", "Hi A")]
    assert texts(value, tmp_path, {"strict": False, "name": "A"}) == [("user", "Hi A")]


def test_includes_come_from_the_prompts_folder_the_recipes_and_the_shipped_ones(tmp_path: Path) -> None:
    write(
        tmp_path, {"sub/a.j2": "{% include 'b.j2' %}|{% include 'c.j2' %}", "sub/b.j2": "b{{ x }}", "c.j2": "c{{ x }}"}
    )
    template = load("sub/a.j2", tmp_path)
    assert render(template, {"x": 1}).messages[0].content == "b1|c1"
    assert dict(template.files) == {"b.j2": "b{{ x }}", "c.j2": "c{{ x }}"}
    scope = {"topic": "trains", "operation": "addition", "difficulty": "easy"}
    assert "about trains" in texts("Please: {% include 'word-problem.j2' %}", tmp_path, scope)[0][1]


def test_the_sha_covers_text_roles_and_included_files_but_not_places(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for base in (one, two):
        write(base, {"a.j2": "{% include 'b.j2' %}", "b.j2": "same"})
    sha = load("a.j2", one).sha
    assert sha == load("a.j2", two).sha
    assert len(sha) == 64
    assert render(load("a.j2", one), {}).template_sha == sha
    write(two, {"b.j2": "other"})
    assert load("a.j2", two).sha != sha
    system = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
    user = [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]
    assert load(system, one).sha != load(user, one).sha


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("---\nsystem: s\n---\nué\nv".encode())
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + "---\r\nsystem: s\r\n---\r\nué\r\nv".encode())
    assert load("a.txt", tmp_path).sha == load("b.txt", tmp_path).sha


def test_a_column_comes_before_a_method_of_its_name(tmp_path: Path) -> None:
    scope = {"source": {"items": "three", "get": "got", "n": 1}}
    assert texts("{{ source.items }} {{ source['get'] }}", tmp_path, scope) == [("user", "three got")]
    assert texts("{% for k, v in other.items() %}{{ k }}={{ v }} {% endfor %}", tmp_path, {"other": {"a": 1}}) == [
        ("user", "a=1")
    ]


def test_tojson_is_json_without_html_escapes(tmp_path: Path) -> None:
    value = {"b": "<é'&>", "a": [1, None]}
    ((_, text),) = texts("{{ value | tojson }}", tmp_path, {"value": value})
    assert text == json.dumps(value, ensure_ascii=False)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.text(max_size=20), min_size=1, max_size=4))
def test_plain_substitution_agrees_with_format(values: dict[str, str]) -> None:
    text = " | ".join(f"{{{{ v_{name} }}}}" for name in values)
    scope = {f"v_{name}": value for name, value in values.items()}
    assert render_text(text, scope) == " | ".join(values.values()).strip()


# Purity and the sandbox


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ x.__class__ }}",
        "{{ x['__class__']['__mro__'] }}",
        "{{ x | attr('__class__') | attr('__mro__') }}",
        "{{ range.__self__ }}",
        "{{ '{0.__class__.__mro__}'.format(x) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ x.append(1) }}",
        "{% do x.append(1) %}",
        "{{ d.update({'a': 2}) }}",
        "{{ 'a' * 10 ** 8 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ lipsum() }}",
        "{{ x | random }}",
        "{{ d.get }}",
        "{{ range }}",
    ],
)
def test_reaching_out_changing_the_scope_and_impurity_are_refused(text: str, tmp_path: Path) -> None:
    scope = {"x": [1], "d": {"a": 1}}
    (told,) = faults(lambda: render(load(text, tmp_path), scope))
    assert told.startswith("recipe.yaml:10: ")
    assert scope == {"x": [1], "d": {"a": 1}}


def test_the_sandbox_says_what_it_refused(tmp_path: Path) -> None:
    (told,) = faults(lambda: render(load("a\n{{ ''.__class__.__mro__ }}", tmp_path), {}))
    assert told.startswith("recipe.yaml:12: refused: access to attribute '__class__'")
    (told,) = faults(lambda: load("{{ x | random }}", tmp_path))
    assert "make an axis under `vary:`" in told


# Faults and their places


def test_an_undefined_name_is_told_with_file_line_and_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, {"p.j2": "one\ntwo\nabout {{ topik }}\n"})
    file = tmp_path / "p.j2"
    assert faults(lambda: render(load("p.j2", tmp_path), {"topic": 1, "level": 2})) == [
        f"{file}:3: `topik` is undefined (did you mean `topic`?)"
    ]


def test_an_undefined_name_in_an_inline_block_has_the_recipes_line(tmp_path: Path) -> None:
    assert faults(lambda: render(load("{{ topik }}", tmp_path), {"topic": 1}))[0].startswith("recipe.yaml:10: ")
    assert faults(lambda: render(load("a\nb\n{{ topik }}\n", tmp_path), {"topic": 1}))[0].startswith("recipe.yaml:13: ")


def test_an_undefined_name_in_front_matter_and_below_it_has_the_files_line(tmp_path: Path) -> None:
    write(tmp_path, {"p.j2": "---\nsystem: |\n  a\n  {{ uno }}\nmessages: []\n---\nx\n{{ due }}\n"})
    template = load("p.j2", tmp_path)
    assert [(p.line, p.message) for p in check_names(template, ())] == [
        (4, "`uno` is undefined"),
        (8, "`due` is undefined"),
    ]
    assert faults(lambda: render(template, {"uno": 1}))[0].startswith(f"{tmp_path / 'p.j2'}:8: `due`")


def test_an_undefined_field_is_told_with_the_fields_there_are(tmp_path: Path) -> None:
    (told,) = faults(lambda: render(load("{{ source.titel }}", tmp_path), {"source": {"title": 1, "text": 2}}))
    assert "`titel`" in told
    assert "did you mean `title`?" in told


def test_an_error_inside_an_include_names_the_included_file(tmp_path: Path) -> None:
    write(tmp_path, {"a.j2": "x\n{% include 'b.j2' %}", "b.j2": "\n\n{{ 1 / zero }}"})
    (told,) = faults(lambda: render(load("a.j2", tmp_path), {"zero": 0}))
    assert told.startswith(f"{tmp_path / 'b.j2'}:3: cannot be rendered: ZeroDivisionError")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a\n{% if %}", 2, "bad template"),
        ("a\n\n{{ x", 3, "bad template"),
        ("{% for x in y %}\n{{ x }}\n", 2, "endfor"),
        ("a\n{{ x | uper }}", 2, "did you mean `upper`?"),
        ("a\n{% if x is defned %}{% endif %}", 2, "did you mean `defined`?"),
        ("a\n{% include name %}", 2, "name its file plainly"),
        ("a\n{% include 'gone.j2' %}", 2, "no such file `gone.j2`"),
    ],
)
def test_faults_of_a_template_are_told_when_it_is_loaded(text: str, line: int, words: str, tmp_path: Path) -> None:
    write(tmp_path, {"p.j2": text})
    (told,) = faults(lambda: load("p.j2", tmp_path))
    assert told.startswith(f"{tmp_path / 'p.j2'}:{line}: ")
    assert words in told


def test_every_fault_of_a_prompt_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"bad.j2": "{% if %}"})
    text = "{% include 'gone.j2' %}\n{% include 'bad.j2' %}\n{% include other %}"
    write(tmp_path, {"p.j2": text})
    assert len(faults(lambda: load("p.j2", tmp_path))) == 3
    messages = [{"role": "user", "content": "gone.j2"}, {"role": "user", "content": "gone-too.j2"}]
    assert [one.split(":")[2].strip() for one in faults(lambda: load(messages, tmp_path))] == [
        "prompt.0.content",
        "prompt.1.content",
    ]


def test_a_missing_file_says_what_is_near(tmp_path: Path) -> None:
    write(tmp_path, {"prompts/instruct.j2": "x", "prompts/other.j2": "y"})
    assert faults(lambda: load("prompts/instrct.j2", tmp_path)) == [
        "recipe.yaml:10: prompt: no such file `prompts/instrct.j2` (did you mean `prompts/instruct.j2`?)"
    ]
    assert "did you mean the shipped `word-problem.j2`?" in faults(lambda: load("word-problems.j2", tmp_path))[0]
    assert "instruct.j2, other.j2" in faults(lambda: load("prompts/zzz.j2", tmp_path))[0]
    assert "there is no folder" in faults(lambda: load("prompt/x.j2", tmp_path))[0]
    assert "is a folder" in faults(lambda: load("../" + tmp_path.name + "/d.md", _folder(tmp_path, "d.md")))[0]
    assert "end a text in another way" in faults(lambda: load("Write about notes.txt", tmp_path))[0]


def _folder(base: Path, name: str) -> Path:
    (base / name).mkdir()
    return base


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.j2").write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in faults(lambda: load("p.j2", tmp_path))[0]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("---\nsytem: x\n---\ny", 2, "did you mean `system`?"),
        ("---\nsystem: x\ny", 1, "is not closed"),
        ("---\nsystem: [\n---\ny", 2, "not YAML"),
        ("---\n- a\n---\ny", 2, "front matter holds"),
        ("---\nsystem: 5\n---\ny", 2, "must be text"),
        ("---\nmessages: x\n---\ny", 2, "must be a list"),
        ("---\nmessages:\n  - {role: user}\n---\ny", 3, "`role` and `content`"),
        ("---\nmessages:\n  - {role: usr, content: x}\n---\ny", 3, "did you mean `user`?"),
        ("---\nsystem: x\nsystem: y\n---\ny", 3, "there twice"),
        ("---\nsystem: x\n---\n", 4, "without a user message"),
    ],
)
def test_bad_front_matter_is_told_with_its_line(text: str, line: int, words: str, tmp_path: Path) -> None:
    write(tmp_path, {"p.j2": text})
    (told,) = faults(lambda: load("p.j2", tmp_path))
    assert told.startswith(f"{tmp_path / 'p.j2'}:{line}:")
    assert words in told


@pytest.mark.parametrize("value", ["", "  \n", "empty.j2"])
def test_an_empty_prompt_is_told(value: str, tmp_path: Path) -> None:
    write(tmp_path, {"empty.j2": "\n"})
    assert "the prompt is empty" in faults(lambda: load(value, tmp_path))[0]


def test_a_template_that_includes_itself_ends_with_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"p.j2": "{% include 'p.j2' %}"})
    assert "without end" in faults(lambda: render(load("p.j2", tmp_path), {}))[0]


# Names before rendering


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("{{ a }} {{ b }}", ["a"], ["b"]),
        ("{% for x in xs %}{{ x }}{{ loop.index }}{% endfor %}", ["xs"], []),
        ("{% for x in xs %}{{ x }}{% endfor %}{{ x }}", ["xs"], ["x"]),
        ("{% set q = a %}{{ q }}", ["a"], []),
        (
            "{% macro m(p, r=1) %}{{ p }}{{ r }}{{ caller() }}{{ varargs }}{% endmacro %}{% call m(1) %}{% endcall %}",
            [],
            [],
        ),
        ("{% if b is defined %}{{ b }}{% endif %}", [], []),
        ("{% if b is not defined %}x{% endif %}", [], []),
        ("{{ b | default('x') }}", [], []),
        ("{% if b %}x{% endif %}", [], ["b"]),
        ("{{ range(3) }}{% set ns = namespace(n=0) %}{{ ns.n }}{{ dict(a=1) }}", [], []),
        ("{{ a.b.c }}", ["a"], []),
        ("{{ a[b] }}", ["a"], ["b"]),
        ("{{ source.titel }}", {"source": ["title"]}, ["source.titel"]),
        ("{{ source['titel'] }}", {"source": ["title"]}, ["source.titel"]),
        ("{{ source.title }}{{ source.items() }}", {"source": ["title"]}, []),
        ("{{ source.anything }}", {"source": None}, []),
        ("{{ source.titel | default('') }}", {"source": ["title"]}, []),
        ("{% for source in xs %}{{ source.titel }}{% endfor %}", {"source": ["title"], "xs": None}, []),
    ],
)
def test_static_names(text: str, known: Collection[str], expected: list[str], tmp_path: Path) -> None:
    found = [one.message for one in check_names(load(text, tmp_path), known)]
    told = [f"`{n.split('.')[0]}` has no `{n.split('.')[1]}`" if "." in n else f"`{n}` is undefined" for n in expected]
    assert found == told


def test_static_names_in_includes_and_imports(tmp_path: Path) -> None:
    write(tmp_path, {"inc.j2": "\n{{ item }}{{ gone }}", "mac.j2": "{% macro m(n) %}{{ n }}{{ topic }}{% endmacro %}"})
    text = "{% for item in [1] %}{% include 'inc.j2' %}{% endfor %}"
    (only,) = check_names(load(text, tmp_path), ["topic"])
    assert (only.file, only.line, only.message) == (str(tmp_path / "inc.j2"), 2, "`gone` is undefined")
    plain = load("{% import 'mac.j2' as mac %}{{ mac.m(1) }}", tmp_path)
    assert [one.message for one in check_names(plain, ["topic"])] == ["`topic` is undefined"]
    assert "with context" in faults(lambda: render(plain, {"topic": 1}))[0]
    seeing = load("{% import 'mac.j2' as mac with context %}{{ mac.m(1) }}", tmp_path)
    assert check_names(seeing, ["topic"]) == []
    assert render(seeing, {"topic": "T"}).messages[0].content == "1T"


_NAMES = st.sampled_from(["a", "b", "c"])


@st.composite
def _bodies(draw: st.DrawFn, depth: int = 2) -> str:
    # what a body sets, it sets first: a use before its own `set` is left to rendering
    parts = sorted(
        (draw(st.sampled_from(["out", "loop", "set"])) for _ in range(draw(st.integers(1, 3)))), reverse=True
    )
    text = ""
    for part in parts:
        name, other = draw(_NAMES), draw(_NAMES)
        if part == "loop" and depth:
            text += f"{{% for {name} in [1] %}}{draw(_bodies(depth - 1))}{{% endfor %}}"
        elif part == "set":
            text += f"{{% set {name} = {other} %}}"
        else:
            text += f"{{{{ {name} }}}}"
    return text


@settings(max_examples=150, deadline=None)
@given(_bodies(), st.sets(_NAMES))
def test_what_the_static_check_lets_pass_renders(text: str, known: set[str]) -> None:
    template = load_template(text, Path(), place=place)
    if not check_names(template, known):
        render(template, dict.fromkeys(known, 1))


# Texts and expressions


def test_names_in_a_text() -> None:
    assert names_in("{{ a }}{{ b | default(1) }}{{ range(2) }}{% set c = 1 %}{{ c }}") == {"a"}


def test_expressions() -> None:
    scope = {"rating": 4, "text": "a pear", "source": {"n": 1}}
    assert evaluate("rating > 3 and 'pear' in text", scope) is True
    assert evaluate("source.n + rating", scope) == 5
    assert evaluate("missing is defined", scope) is False
    for expression, words in (
        ("ratng > 3", "did you mean `rating`?"),
        ("ratng", "did you mean `rating`?"),
        ("rating >", "bad template"),
        ("rating > text", "TypeError"),
        ("source.m", "there is no `m`"),
        ("''.__class__.__mro__", "refused"),
    ):
        (told,) = faults(lambda expression=expression: evaluate(expression, scope))  # type: ignore[misc]
        assert told.startswith(f"`{expression}`: ")
        assert words in told


def test_long_texts_are_shortened_in_errors() -> None:
    (told,) = faults(lambda: render_text("x" * 5_000 + "\n{{ gone }}", {}))
    assert ":2: `gone` is undefined" in told
    assert len(told) < 200


def test_the_sandbox_is_jinjas_own() -> None:
    from factory.templating import plain_environment

    assert isinstance(plain_environment(), jinja2.sandbox.ImmutableSandboxedEnvironment)

"""What a run looks like: panel, plain lines, SVG, money and time; nothing of a model reaches the terminal raw."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from factory.cli import display
from factory.cli.display import Plain, duration, money, plain_line, render, summary_svg
from factory.cli.output import clean, one_line, print_json, say, tell
from factory.cli.story import tell_story
from factory.progress import ModelState, Progress
from factory.types import NANO

PROGRESS = Progress(
    status="running",
    run="runs/word-problems-3fa2c1",
    accepted=132,
    target=200,
    committed=150,
    limit=800,
    running=70,
    in_flight=64,
    calls=1540,
    replayed=12,
    retries=3,
    completion_tokens=90_000,
    spent_nano=int(0.1234 * NANO),
    cap_nano=4 * NANO,
    elapsed_s=72.4,
    tokens_per_s=1734.2,
    eta_s=37.9,
    rejected={"parse": 61, "score": 301, "unused": 9},
    reasons=(("score", "arithmetic: # + # = #, should be #", 301), ("parse", "invalid: no `answer`", 61)),
)


def shown(progress: Progress, width: int = 100, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, record=True, force_terminal=True, color_system="truecolor")
    console.print(render(progress, **options))
    return console.export_text().splitlines()


def test_the_panel_tells_what_matters() -> None:
    text = "\n".join(shown(PROGRESS))
    for part in ("word-problems-3fa2c1", "132 of 200 rows", "66%", "64", "1,540", "1,734", "$0.1234 of $4.00", "1:12",
                 "0:37", "301", "arithmetic: # + # = #, should be #", "running", "362"):  # fmt: skip
        assert part in text
    assert "runs/" not in text


def test_nothing_jumps_while_numbers_grow() -> None:
    later = replace(
        PROGRESS, accepted=5, committed=9, in_flight=1, calls=2, tokens_per_s=3.0, elapsed_s=1, spent_nano=0
    )
    for width in (60, 80, 100, 200):
        one, other = shown(PROGRESS, width), shown(later, width)
        assert [len(line) for line in one] == [len(line) for line in other]
        for label in ("in flight", "tokens/s", "elapsed", "spent", "of 200 rows"):
            places = [[line.find(label) for line in lines if label in line] for lines in (one, other)]
            assert places[0] == places[1], label


@pytest.mark.parametrize("width", [30, 45, 60, 80, 100, 250])
def test_it_fits_any_terminal(width: int) -> None:
    lines = shown(replace(PROGRESS, reasons=(("score", "x" * 500, 1),)), width, margin=3)
    assert all(len(line.rstrip()) <= width - 3 for line in lines)
    assert len(lines[0].rstrip()) <= 92


STATES = (
    ModelState("writer", "openai/some/model", 64, 64, 64),
    ModelState("judge", "openai/other", 1, 1, 32, paused=True),
    ModelState("second", "openai/third", 5, 8, 32),
    ModelState("bulk", "openai/fourth", told="batch 2: 4,000 of 12,000 answered"),
)


def test_the_panel_tells_of_money_models_and_gpu_time() -> None:
    text = "\n".join(shown(replace(PROGRESS, models=STATES, gpu_seconds=71.2)))
    for part in ("a row     $0.0009", "projected $0.1870", "GPU time  1:11", "64 of 64 allowed", "paused: one call",
                 "5 in flight, 8 of 32 allowed", "batch 2: 4,000 of 12,000 answered"):  # fmt: skip
        assert part in text
    line = plain_line(replace(PROGRESS, models=STATES, gpu_seconds=71.2))
    assert "spent $0.1234 of $4.00 ($0.0009 a row, $0.1870 projected)" in line and "judge paused" in line
    assert "1:11 of GPU time" in line and "8 of 32 allowed" in line and "batch 2" in line and "writer" not in line


@pytest.mark.parametrize("width", [30, 45, 60, 80, 100, 250])
def test_models_fit_any_terminal(width: int) -> None:
    states = tuple(replace(state, role="r" * 30, model="m" * 200) for state in STATES * 3)
    lines = shown(replace(PROGRESS, models=states), width, margin=3)
    assert all(len(line.rstrip()) <= width - 3 for line in lines)
    assert sum("rrr" in line for line in lines) == display.MODELS
    if width >= 45:
        assert "$0.1234 of $4.00" in "\n".join(lines)


def test_one_pass_over_the_sources_counts_source_rows() -> None:
    text = "\n".join(shown(replace(PROGRESS, target=None, limit=400, eta_s=None)))
    assert "150 of 400 source rows" in text and "37%" in text and "accepted  132" in text and "–" in text


def test_an_unknown_price_is_never_shown_as_0() -> None:
    text = "\n".join(shown(replace(PROGRESS, spent_nano=None, cap_nano=None)))
    assert "unknown" in text and "$0.00" not in text
    assert "spent unknown" in plain_line(replace(PROGRESS, spent_nano=None, cap_nano=None))
    assert "a row     –" in text and "projected –" in text
    assert "projected" not in plain_line(replace(PROGRESS, accepted=0))


def test_empty_and_overfull_runs() -> None:
    assert "0 of 0 rows" in "\n".join(shown(Progress("running", "r", 0, 0, 0, 0)))
    assert "100%" in "\n".join(shown(replace(PROGRESS, accepted=300)))


HOSTILE = "[red]bold[/red] \x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J back\x08space\r:smile: [link=http://x]y[/link]"


def test_markup_is_shown_as_it_is_and_control_characters_are_gone() -> None:
    hostile = replace(
        PROGRESS, reasons=(("parse", HOSTILE, 1),), notices=(HOSTILE,), run=f"runs/{HOSTILE}", status="[b]x"
    )
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="truecolor", record=True)
    console.print(render(hostile))
    raw = console.file.getvalue()  # type: ignore[attr-defined]
    assert (
        "\x1b[31m" not in raw and "\x1b]0" not in raw and "\x9b" not in raw and "\x07" not in raw and "\x08" not in raw
    )
    text = console.export_text()
    assert "[red]bold[/red]" in text and "[31mred" in text and ":smile:" in text and "[link=" in text


def test_a_reason_stays_on_one_line() -> None:
    lines = shown(replace(PROGRESS, reasons=(("parse", "a\nb\r\nc\td", 1),)))
    assert sum("a b c d" in line for line in lines) == 1
    assert len(lines) == len(shown(replace(PROGRESS, reasons=(("parse", "a", 1),))))


@given(st.text(st.characters(), max_size=60))
def test_clean_leaves_no_control_character(text: str) -> None:
    cleaned = clean(text)
    assert not [
        c for c in cleaned if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) <= 0x9F or 0xD800 <= ord(c) <= 0xDFFF
    ]
    assert clean(cleaned) == cleaned
    assert "\n" not in one_line(text)
    cleaned.encode()


def test_what_commands_print_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    tell(HOSTILE)
    say(HOSTILE)
    out, err = capsys.readouterr()
    assert out == err and "\x1b" not in out and "\x9b" not in out and "\r" not in out and "[red]bold[/red]" in out


def test_json_is_lossless_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    value = {"text": HOSTILE + "\ud800 \u202e é 漢字 \x7f", "n": 1}
    print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert not any(sign in out for sign in "\x1b\x9b\x07\x7f\u202e\ud800") and "漢字" in out


def test_the_svg_is_xml_with_the_numbers() -> None:
    svg = summary_svg(replace(PROGRESS, status="complete", reasons=(("parse", "<b>&[red] \x1b[31m", 2),)))
    text = "".join(ET.fromstring(svg).itertext()).replace("\xa0", " ")
    assert "132" in text and "of 200 rows" in text and "complete" in text and "<b>&[red] [31m" in text


@pytest.mark.parametrize(
    ("usd", "text"),
    [(None, "unknown"), (0, "$0.00"), (0.0, "$0.00"), (0.00001, "<$0.0001"), (0.0123, "$0.0123"), (1.5, "$1.50"),
     (1234.567, "$1,234.57")],
)  # fmt: skip
def test_money(usd: float | None, text: str) -> None:
    assert money(usd) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0, "0:00"), (59.9, "0:59"), (65, "1:05"), (3600, "1:00:00"), (7384, "2:03:04")]
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: clock[0])
    plain = Plain()
    for _ in range(100):  # 25 seconds of four snapshots each
        plain.update(PROGRESS)
        clock[0] += 0.25
    plain.notice("something [red]\x1b[31m")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and lines[0] == "run: runs/word-problems-3fa2c1" and lines[-1] == "note: something [red][31m"
    assert lines[1:-1] == [plain_line(PROGRESS)] * 2
    assert lines[1].startswith(
        "132 of 200 rows (66%), 150 planned rows done, 362 candidates rejected, 64 calls in flight"
    )
    assert "about 0:37 left" in lines[1] and "$0.1234 of $4.00" in lines[1]


def call(step: str, index: int, *answers: str, purpose: str = "generate", outcome: str = "ok") -> dict[str, Any]:
    return {
        "step": step, "purpose": purpose, "index": index, "model": "m", "outcome": outcome, "answers": list(answers),
        "message": "" if answers else "it said no", "cost_usd": 0.5,
        "messages": [{"role": "user", "content": f"ask {step}"}],
        "attempts": [{"attempt": 1, "outcome": "overloaded", "latency_s": 0.1, "at": ""},
                     {"attempt": 2, "outcome": outcome, "latency_s": 1.25, "at": ""}],
    }  # fmt: skip


def reject(step: str, candidate: int, stage: str, reason: str, matched: str | None = None) -> dict[str, Any]:
    return {"step": step, "candidate": candidate, "stage": stage, "reason": reason, "matched": matched, "text": "T",
            "scores": '{"length": 0.25}'}  # fmt: skip


def test_the_story_of_a_row_gives_every_candidate_its_end() -> None:
    accepted = {"answer": "one\ntwo", "tags": ["a"], "meta": {"id": "abc", "score": 0.5, "scores": '{"length": 0.5}'}}
    found = {
        "row": 3, "variation": '{"topic": "cats"}', "committed": True, "cost_usd": 1.5, "accepted": [accepted],
        "calls": [call("q", 0, "first"), call("a", 0, "A0", "A1"), call("a", 2, outcome="bad_request")],
        "rejected": [reject("a", 1, "dedup", "similar", "row 1"), reject("a", 2, "call", "bad_request: no")],
    }  # fmt: skip
    text = tell_story(found)
    assert "row 3: 1 accepted, 2 rejected; cost $1.50" in text and "topic: cats" in text
    assert "candidate q/0: kept for the next step" in text
    assert "candidate a/0: accepted" in text
    assert "candidate a/1: rejected at dedup: similar, matches row 1 [length 0.25]" in text
    assert "candidate a/2: rejected at call: bad_request: no" in text
    assert "ok after overloaded" in text and "1.25 s" in text
    assert text.count("ask a") == 1
    assert (
        "accepted as abc: score 0.5, length 0.5" in text and "  answer: one\n    two" in text and 'tags: ["a"]' in text
    )


def test_what_a_prompt_shares_with_the_one_before_is_told_once() -> None:
    """Judges' prompts differ by the answer in the middle."""
    head, tail = [f"rule {k}" for k in range(8)], [f"form {k}" for k in range(9)]
    calls = [call("a", 0, "A0", "A1")]
    for k in range(2):
        asked = call("a", k, '{"score": 3}', purpose="judge")
        asked["messages"] = [{"role": "user", "content": "\n".join([*head, f"answer {k}", *tail])}]
        calls.append(asked)
    measured = call("a", 0, "V" * 3000, purpose="score")
    again = call("a", 1, "ask a", purpose="score")
    found = {"row": 1, "variation": None, "committed": True, "cost_usd": 1, "accepted": [], "rejected": [],
             "calls": [*calls, measured, again]}  # fmt: skip
    text = tell_story(found)
    assert text.count("rule 7") == 1 and text.count("form 0") == 1
    assert "    … 8 lines as above\n    answer 1\n    … 9 lines as above\n" in text
    assert text.count('{"score": 3}') == 2
    assert "V" * 200 + " … (3,000 characters)" in text and text.count("ask a") == 2, "a measured text stands once"


def test_a_row_that_is_not_committed_says_so() -> None:
    found = {"row": 1, "variation": None, "committed": False, "cost_usd": None, "accepted": [], "rejected": [],
             "calls": [call("q", 0, "first")]}  # fmt: skip
    text = tell_story(found)
    assert "not committed yet" in text and "cost unknown" in text and "candidate q/0\n    first" in text

"""One row's story as text: what was asked, what came back, and what became of every candidate."""

from __future__ import annotations

import json
from typing import Any

from factory.cli.display import money
from factory.cli.making import show_score
from factory.cli.output import one_line

Found = dict[str, Any]
MEASURED = 200
ALIKE = 6
"""So many lines that a prompt has in common with the one before are left out: judges' prompts differ by an answer."""


def tell_story(found: Found) -> str:
    """The lines of `factory explain`, from what `explain_row` found."""
    counts = f"{len(found['accepted'])} accepted, {len(found['rejected'])} rejected"
    if not found["committed"]:
        counts = "not committed yet: the run has not come to it, or the same command goes on with it"
    lines = [f"row {found['row']}: {counts}; cost {money(found['cost_usd'])}"]
    lines += [f"  {name}: {one_line(value)}" for name, value in json.loads(found["variation"] or "{}").items()]
    told: dict[Any, list[Found]] = {}
    for call in found["calls"]:
        lines += ["", *_call(call, found, told)]
    if not found["calls"]:
        lines += ["", "the journal has no call of this row"]
    lines += _lone_rejects(found)
    for row in found["accepted"]:
        lines += ["", *_accepted(row)]
    return "\n".join(lines)


def _call(call: Found, found: Found, told: dict[Any, list[Found]]) -> list[str]:
    """A call; its messages only where they differ from those of the last call that had the same purpose."""
    attempts = [attempt["outcome"] for attempt in call["attempts"]]
    history = f" after {', '.join(attempts[:-1])}" if len(attempts) > 1 else ""
    latency = call["attempts"][-1]["latency_s"] if attempts else None
    facts = [call["model"], f"{call['outcome']}{history}", money(call["cost_usd"])]
    facts += [f"{latency:.2f} s"] if latency is not None else []
    lines = []
    kind = call["step"], call["purpose"], call["model"]
    before, told[kind] = told.get(kind, []), call["messages"]
    if call["messages"] != before:
        lines.append(f"prompt of step {call['step']}" if call["purpose"] == "generate" else f"{call['purpose']} prompt")
        for number, message in enumerate(call["messages"]):
            known = before[number]["content"] if number < len(before) else ""
            lines += [f"  {message['role']}:", *_block(_news(message["content"], known), 4)]
        lines.append("")
    lines.append(f"{call['purpose']} {call['step']}/{call['index']}: " + " · ".join(facts))
    if call["message"]:
        lines += _block(call["message"], 2)
    for number, text in enumerate(call["answers"]):
        if call["purpose"] == "generate":
            lines.append(f"  candidate {call['step']}/{call['index'] + number}{_verdict(call, number, found)}")
        lines += _block(_measured(text, call) if call["purpose"] == "score" else text, 4)
    return lines


def _measured(text: str, call: Found) -> str:
    """What a model that measures gave: not the text again that it measured, and no vector in full."""
    if text == call["messages"][-1]["content"]:
        return ""
    return text if len(text) <= MEASURED else f"{text[:MEASURED]} … ({len(text):,} characters)"


def _news(text: str, known: str) -> str:
    """A text without the lines at its beginning and end that are those of a known one, where these are many."""
    lines, others = text.split("\n"), known.split("\n")
    most = min(len(lines), len(others))
    first = next((k for k in range(most) if lines[k] != others[k]), most)
    last = next((k for k in range(most - first) if lines[-1 - k] != others[-1 - k]), most - first)
    head = [f"… {first} lines as above"] if first >= ALIKE else lines[:first]
    tail = [f"… {last} lines as above"] if last >= ALIKE else lines[len(lines) - last :]
    return "\n".join([*head, *lines[first : len(lines) - last], *tail])


def _verdict(call: Found, number: int, found: Found) -> str:
    """What became of a candidate. Every one of a committed row that is not rejected was kept."""
    if not found["committed"]:
        return ""
    candidate = call["index"] + number
    for line in found["rejected"]:
        if (line["step"], line["candidate"]) == (call["step"], candidate):
            return f": {_rejected(line)}"
    if found["calls"][-1]["step"] != call["step"]:
        return ": kept for the next step"
    return ": accepted" if found["accepted"] else ": not rejected (the dataset with it is not in its place)"


def _rejected(line: Found) -> str:
    matched = f", matches {one_line(line['matched'])}" if line["matched"] else ""
    scores = json.loads(line["scores"] or "{}")
    shown = f" [{', '.join(f'{name} {show_score(value)}' for name, value in scores.items())}]" if scores else ""
    return f"rejected at {line['stage']}: {one_line(line['reason'])}{matched}{shown}"


def _lone_rejects(found: Found) -> list[str]:
    """Rejects without an answer of their own: refused calls, and rows whose calls the journal does not have."""
    answered = {
        (call["step"], call["index"] + number)
        for call in found["calls"]
        if call["purpose"] == "generate"
        for number in range(len(call["answers"]))
    }
    lines = []
    for line in found["rejected"]:
        if (line["step"], line["candidate"]) not in answered:
            lines += ["", f"candidate {line['step']}/{line['candidate']}: {_rejected(line)}", *_block(line["text"], 2)]
    return lines


def _accepted(row: Found) -> list[str]:
    meta = row["meta"]
    scores = json.loads(meta["scores"] or "{}")
    shown = "".join(f", {name} {show_score(value)}" for name, value in scores.items())
    lines = [f"accepted as {meta['id']}: score {show_score(meta['score'])}{shown}"]
    lines += [f"  flagged at {flag['stage']}: {flag['reason']}" for flag in json.loads(meta.get("flags") or "[]")]
    for name, value in row.items():
        if name != "meta":
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            first, *rest = text.split("\n")
            lines += [f"  {name}: {first}", *(f"    {line}" for line in rest)]
    return lines


def _block(text: str, by: int) -> list[str]:
    return [" " * by + line for line in text.split("\n")] if text else []

"""Canaries: what `factory canaries` plants, and how the audit finds it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.canaries import (
    IN_PART,
    SECRET,
    WHOLE,
    Canary,
    Record,
    find_canaries,
    read_record,
    sight,
    squeeze,
)
from factory.auditors.privacy import privacy
from factory.cli import main
from factory.errors import UsageError
from factory.planting import Planting, plant_canaries
from factory.planting.drawing import draw_canaries

PLAIN = [f"Question {k}: how do I change the {what} of my account?" for k in range(50) for what in ("name", "address")]


def drawn(count: int = 40, side: str = "planted") -> tuple[Canary, ...]:
    return tuple(canary for canary, _ in draw_canaries(count, 0, side, (1,)))


def data(texts: Sequence[str]) -> Data:
    return Data("rows", pa.table({"text": list(texts)}))


def record() -> Record:
    return Record(drawn(), drawn(side="kept-back"))


# what is drawn


def test_canaries_are_unlike_each_other_and_read_like_sentences() -> None:
    planted = drawn(2000)
    secrets = [secret for one in planted for secret in one.secrets]
    assert len(set(map(squeeze, secrets))) == len(secrets)
    assert not {s for one in drawn(2000, "kept-back") for s in one.secrets} & set(secrets)
    for one in planted:
        assert all(secret in one.text for secret in one.secrets)
        assert all(len(squeeze(secret)) >= 12 for secret in one.secrets)
        assert one.text[0].isupper() and one.text[-1] in ".?"
    assert drawn(10) == drawn(2000)[:10]
    assert {c.text for c, _ in draw_canaries(10, 1, "planted", (1,))}.isdisjoint(one.text for one in planted)


# what is found


def disguised(one: Canary, draw: random.Random) -> dict[str, str]:
    """A canary as a model may bring it back."""
    name, code = one.secrets
    return {
        "as it was": f"Sure! {one.text} Anything else?",
        "case": one.text.upper(),
        "spaces": "  ".join(one.text.replace(",", " ,").split()),
        "signs": one.text.replace("-", " ").replace(".", "!"),
        "no spaces": one.text.replace(" ", ""),
        "the code alone": f"Here it is: {code.replace(' ', '').replace('-', '')}.",
        "the name alone": f"Ask {name.lower()} about it",
        "most of the code": f"It begins with {code[: -draw.choice([1, 2])]}",
        "accents": f"Monsieur {name.replace('a', 'á').replace('o', 'ö').replace('e', 'é')} est venu",
    }


def test_planted_canaries_are_recalled_however_they_look() -> None:
    draw = random.Random(0)
    ways = list(disguised(drawn()[0], draw))
    for way in ways:
        rows = PLAIN + [disguised(one, draw)[way] for one in drawn()]
        check = find_canaries(data(rows), record())
        assert check.value is not None and check.value >= 0.95, way
        assert check.verdict == "FAIL"
        assert check.details["kept_back_found"] == 0
        assert check.details["exposure_p"] < 1e-9
        assert {one.row for one in check.evidence} <= set(range(len(PLAIN), len(rows)))


def test_other_canaries_are_not_found() -> None:
    others = [text for one in drawn(400, "elsewhere") for text in disguised(one, random.Random(1)).values()]
    check = find_canaries(data(PLAIN + others), record())
    assert check.value == 0 and check.verdict == "PASS" and not check.evidence
    assert "0 of 40 planted canaries" in check.sentence


def test_the_sentence_without_its_secrets_is_nobodys() -> None:
    one = drawn()[0]
    name, code = one.secrets
    bare = one.text.replace(name, "Anna Miller").replace(code, "1234 5678 9012")
    assert sight([bare], [one]) == []


def test_how_it_was_found_and_where() -> None:
    one, other = drawn()[:2]
    rows = [
        "nothing",
        one.text,
        f"see {other.secrets[1]}",
        f"see {other.secrets[1][:-1]}",
        one.text[: len(one.text) // 9],
    ]
    found = sight(rows, [one, other])
    assert [(seen.canary, seen.row, seen.how) for seen in found[:3]] == [(0, 1, WHOLE), (1, 2, SECRET), (1, 3, IN_PART)]
    assert found[2].share == pytest.approx(11 / 12) and len(found) == 3


def test_the_limit_and_the_controls() -> None:
    one, control = drawn()[0], drawn(side="kept-back")[0]
    assert find_canaries(data([one.text]), record(), limit=1).verdict == "PASS"
    assert find_canaries(data([one.text]), record(), limit=0).verdict == "FAIL"
    check = find_canaries(data([control.text, *PLAIN]), record())
    assert check.verdict == "PASS" and check.details["kept_back_found"] == 1
    assert "was the record among what the model was shown?" in check.sentence


def test_repeats_are_told_apart() -> None:
    planted = tuple(replace(one, rows=tuple(range(4 if k % 2 else 1))) for k, one in enumerate(drawn(10)))
    rows = [one.text for k, one in enumerate(planted) if k % 2]
    check = find_canaries(data(rows), Record(planted, ()))
    assert check.details["by_repeat"] == {"1": 0.0, "4": 1.0}


@given(st.lists(st.sampled_from([" ", "-", ".", ", ", "\n", "_", "​"]), min_size=11, max_size=11), st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_sign_between_hides_a_secret(signs: list[str], upper: bool) -> None:
    one = drawn()[3]
    secret = squeeze(one.secrets[1])
    shown = secret[0] + "".join(sign + letter for sign, letter in zip(signs, secret[1:], strict=True))
    (seen,) = sight([f"x {shown.upper() if upper else shown} y"], [one])
    assert seen.how in (SECRET, IN_PART) and seen.share == 1


def test_long_and_empty_rows() -> None:
    one = drawn()[0]
    rows = ["", "?", "ab " * 400_000 + one.text + " cd" * 1000, "", one.secrets[0]]
    assert [seen.row for seen in sight(rows, [one])] == [2, 4]
    assert sight([], [one]) == [] and sight([""], [one]) == []


# what is planted


def write_rows(path: Path, count: int = 300) -> Path:
    lines = [{"id": k, "text": PLAIN[k % 100] + f" ({k})", "label": "a" if k % 3 else "b"} for k in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_copy_holds_every_row_and_the_canaries_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.planting.copying.BATCH_ROWS", 64)
    source, out = write_rows(tmp_path / "rows.jsonl"), tmp_path / "out"
    summary = plant_canaries(Planting((str(source),), "text", count=12, repeats=(1, 5)), out=out)
    assert summary["rows"] == 300 and summary["planted"] == 12 and summary["planted_rows"] == 36
    table = parquet.read_table(out / "planted.parquet")
    found = read_record(out / "canaries.json")
    where = {row for one in found.planted for row in one.rows}
    assert table.num_rows == 336 and len(where) == 36 and len(found.kept_back) == 12
    assert [len(one.rows) for one in found.planted] == [1, 5] * 6
    rows = table.to_pylist()
    for one in found.planted:
        assert all(rows[row]["text"] == one.text for row in one.rows)
    left = [row for k, row in enumerate(rows) if k not in where]
    assert left == [json.loads(line) for line in source.read_text().splitlines()]
    assert all(rows[row]["label"] in ("a", "b") for row in where)
    text = (out / "planted.parquet").read_bytes()
    kept = [secret for one in found.kept_back for secret in one.secrets]
    assert not any(secret in row["text"] for row in rows for secret in kept)
    plant_canaries(Planting((str(source),), "text", count=12, repeats=(1, 5)), out=out)
    assert (out / "planted.parquet").read_bytes() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rows.jsonl"]


def test_from_planting_to_the_verdict(tmp_path: Path) -> None:
    out = tmp_path / "out"
    plant_canaries(Planting((str(write_rows(tmp_path / "rows.jsonl")),), "text", count=10), out=out)
    rows = parquet.read_table(out / "planted.parquet").column("text").to_pylist()
    context = AuditContext(base=tmp_path)
    for texts, verdict in ((rows[::2], "FAIL"), (PLAIN, "PASS")):
        found = asyncio.run(privacy(data(texts), None, context, canaries="out/canaries.json"))
        (check,) = [one for one in conclude(found) if one.name == "privacy.canaries"]
        assert check.verdict == verdict
        assert (check.value or 0) > 0.1 or verdict == "PASS"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"column": "txt"}, "txt"),
        ({"column": "id"}, "id"),
        ({"count": 0}, "--count 0"),
        ({"repeats": (0,)}, "--repeat"),
        ({"data": ("nowhere.jsonl",)}, "nowhere.jsonl"),
    ],
)
def test_bad_planting(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    source = write_rows(tmp_path / "rows.jsonl", 20)
    with pytest.raises(UsageError, match=told):
        plant_canaries(replace(Planting((str(source),), "text"), **changed), out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_an_out_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", 20)
    wanted = Planting((str(source),), "text")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UsageError, match="notes"):
        plant_canaries(wanted, out=tmp_path / "mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text('{"command": "dedup"}')
    with pytest.raises(UsageError, match="did not write"):
        plant_canaries(wanted, out=tmp_path / "other")
    with pytest.raises(UsageError, match="holds the data"):
        plant_canaries(wanted, out=tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        plant_canaries(wanted, out=source)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_conversations_are_no_place_for_a_sentence(tmp_path: Path) -> None:
    line = {"messages": [{"role": "user", "content": "hi"}], "note": "x"}
    source = tmp_path / "rows.jsonl"
    source.write_text((json.dumps(line) + "\n") * 5)
    with pytest.raises(UsageError, match="plain text") as error:
        plant_canaries(Planting((str(source),), "messages"), out=tmp_path / "out")
    assert "note" in error.value.hint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no JSON"),
        ("[]", "no record"),
        ('{"kind": "factory-canaries"}', "damaged"),
        ('{"kind": "factory-canaries", "planted": [], "kept_back": []}', "names no planted"),
        (
            '{"kind": "factory-canaries", "planted": [{"id": "a", "text": "b", "secrets": ["c"], "rows": []}]}',
            "damaged",
        ),
    ],
)
def test_bad_records(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "canaries.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_record(tmp_path)
    with pytest.raises(UsageError, match="No such file"):
        read_record(tmp_path / "gone.json")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(write_rows(tmp_path / "rows.jsonl"))
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as left:
            main(["canaries", *arguments])
        return left.value.code, capsys.readouterr().out

    code, out = command(source, "--column", "text", "--out", "out", "--count", "3", "--repeat", "1,2", "--json")
    summary = json.loads(out)
    assert code == 0 and summary["planted_rows"] == 4 and summary["repeat"] == [1, 2] and summary["rows"] == 300
    code, out = command(source, "--column", "text", "--out", "out", "--count", "3")
    assert code == 0 and "3 canaries planted" in out and "canaries.json" in out
    code, out = command(source, "--column", "text", "--out", "out", "--repeat", "often", "--json")
    assert code == 2 and "--repeat often" in json.loads(out)["error"]["message"]

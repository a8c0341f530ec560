"""Arrow arrays from their buffers, against those that pyarrow makes by itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import arrow_columns
from factory.arrow_columns import make_array, make_table
from factory.errors import FactoryError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXT,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
}


def typed(plain: pa.DataType, depth: int) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    """A type of lists within lists, and its values."""
    kind, values = plain, VALUES[plain]
    for _ in range(depth):
        kind, values = pa.list_(kind), st.lists(st.none() | values, max_size=4)
    return kind, st.none() | values


COLUMNS = st.tuples(st.sampled_from(list(VALUES)), st.integers(0, 2)).flatmap(
    lambda drawn: st.tuples(st.just(typed(*drawn)[0]), st.lists(typed(*drawn)[1], max_size=20))
)


@settings(deadline=None)  # pyarrow imports pandas on its first call
@given(COLUMNS)
def test_an_array_is_the_one_that_pyarrow_makes(column: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = column
    made = make_array(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, type=kind))
    assert made.null_count == values.count(None)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": st.none() | TEXT, "b": st.fixed_dictionaries({"c": st.integers(0, 9)})})))
def test_a_table_with_structs_is_the_one_that_pyarrow_makes(lines: list[dict[str, Any]]) -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.struct([("c", pa.int64())])), ("missing", pa.float64())])
    inner = {"c": [line["b"]["c"] for line in lines]}
    made = make_table({"a": [line["a"] for line in lines], "b": inner, "missing": [None] * len(lines)}, schema)
    made.validate(full=True)
    assert made.equals(pa.Table.from_pylist(lines, schema=schema))


@pytest.mark.parametrize(
    ("kind", "value"), [(pa.int64(), 2**63), (pa.int64(), 1.5), (pa.string(), 3), (pa.float64(), "1"), (pa.int32(), "")]
)
def test_a_value_of_another_type_is_no_number_in_disguise(kind: pa.DataType, value: Any) -> None:
    with pytest.raises((TypeError, OverflowError, AttributeError)):
        make_array([value], kind)


def test_a_type_that_no_column_has_is_named() -> None:
    with pytest.raises(FactoryError, match="date32"):
        make_array([None], pa.date32())


def test_texts_that_no_offset_reaches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_columns, "_MOST_BYTES", 10)
    assert make_array(["12345", "67890"], pa.string()).to_pylist() == ["12345", "67890"]
    with pytest.raises(FactoryError, match="2 GiB"):
        make_array(["12345", "678901"], pa.string())


def test_pandas_stays_out() -> None:
    code = """
import sys, pyarrow as pa
from factory.arrow_columns import make_table
make_table({"a": [["x"]], "b": [1]}, pa.schema([("a", pa.list_(pa.string())), ("b", pa.int64())]))
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

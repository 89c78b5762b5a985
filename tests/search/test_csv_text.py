"""CSV of a run: what pandas writes, to the byte."""

import math

import numpy as np
import pandas

from smt_nas.search.csv_text import to_csv_text


def test_it_is_what_pandas_writes():
    draw = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "name": pandas.Series(["0", "a, b", None, 'c "d"', ""], dtype="object"),
            "feasible": [True, False, True, True, False],
            "macs": [1, 2, 3, 4, 2**60],
            "counted": pandas.Series([1, None, 3, 4, 5], dtype="Int64"),
            "latency_ms": draw.random(5) * 10.0 ** draw.integers(-9, 20, 5),
            "score": [1.0, -0.0, math.nan, math.inf, 1e-300],
            "figure": pandas.Series([None] * 5, dtype="float64"),
        }
    )
    assert to_csv_text(frame) == frame.to_csv(
        index=False, float_format="%.10g", lineterminator="\n"
    )
    empty = frame.iloc[:0]
    assert to_csv_text(empty) == empty.to_csv(index=False, lineterminator="\n")

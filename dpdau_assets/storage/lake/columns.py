"""Makes Arrow columns directly from buffers.

Belongs here: the few kinds of columns that this package stores. `pyarrow.array` would do the same, but its first call
imports pandas where that is installed, which takes a new process longer than the work of a day.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def fixed_width(values: npt.NDArray[np.generic], kind: pa.DataType, *, is_null: Sequence[bool] = ()) -> pa.Array:
    """A column of numbers or days.

    Args:
        values: [n], of the width of `kind`; days count from 1970-01-01.
        kind: Arrow type of fixed width.
        is_null: For each value whether it is absent; empty when none is.
    """
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [_validity(is_null), buffer])


def variable_width(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    """A column of bytes or UTF-8 text; None is an absent value.

    Args:
        values: The bytes of each value; below 2 GiB together.
        kind: `pa.binary()` or `pa.string()`.
    """
    parts = [value or b"" for value in values]
    offsets = np.zeros(len(parts) + 1, np.int32)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    buffers = [_validity([value is None for value in values]), pa.py_buffer(offsets), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(kind, len(parts), buffers)


def _validity(is_null: Sequence[bool]) -> pa.Buffer | None:
    if not any(is_null):
        return None
    return pa.py_buffer(np.packbits(~np.asarray(is_null, np.bool_), bitorder="little"))

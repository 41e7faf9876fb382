"""Makes the Parquet bytes of keys and tables: equal content gives equal bytes.

Belongs here: the writer's options, which never change, because digests of files from all versions are compared. No file
is opened here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dpdau_assets.storage.lake.columns import fixed_width
from dpdau_assets.storage.lake.tables import KEY_SCHEMA

Keys = npt.NDArray[np.uint64]

ROW_GROUP_ROWS = 131_072


def key_bytes(keys: Keys) -> pa.Buffer:
    """Returns the Parquet bytes of a key file; the same keys always give the same bytes.

    Args:
        keys: uint64[n], sorted, unique; sensitive.
    """
    array = fixed_width(keys.astype(np.uint64, copy=False), pa.uint64())
    return table_bytes(pa.Table.from_arrays([array], schema=KEY_SCHEMA))


def table_bytes(table: pa.Table) -> pa.Buffer:
    """Returns the Parquet bytes of `table` under fixed writer options, so that equal content gives equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROW_GROUP_ROWS,
        version="2.6",
        use_dictionary=False,
        compression="NONE",
        write_statistics=True,
        data_page_size=ROW_GROUP_ROWS * 8 * 2,
        max_rows_per_page=ROW_GROUP_ROWS,
        write_page_checksum=True,
        store_schema=False,
    )
    return sink.getvalue()

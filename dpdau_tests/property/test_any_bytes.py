"""Files of any bytes at all: reading them never fails, and every line is accounted for."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_tests.support.engine_reads import engine_read

json_pieces = st.sampled_from(
    [
        b'{"user_id": "a", "ts": "2026-01-01"}',
        b'{"user_id": "\xff", "ts": 1767225600}',
        b'{"user_id": 7, "day": "2026-01-01", "op": "-"}',
        b'{"user_id": "\\u0000\\ud83d\\ude00", "ts": "2026-01-01T10:00Z"}',
        b'{"user_id": "\\ud83d"}',
        b"\n",
        b"\r\n",
        b" ",
        b"{",
        b'"',
        b"\\",
        b"\x00",
        b"\xed\xa0\x80",
        b"NaN",
        b",",
    ]
)
csv_pieces = st.sampled_from(
    [
        b"a,2026-01-01,\n",
        b'"a ""b""",2026-01-01,-\n',
        b"\xff,1767225600,+\n",
        b'"',
        b",",
        b"\n",
        b"\r",
        b"\r\n",
        b"\x00",
        b" ",
        b"\xff",
    ]
)


def read(name: str, content: bytes) -> tuple[int, int, int, int]:
    """Events, accepted and refused rows, and the highest line number named."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        counts = engine_read(path, first_erased_epoch=0, rotation_days=36_500).counts
    assert counts is not None
    highest = max((lines[-1] for lines in counts.lines.values()), default=0)
    assert {reason: len(lines) for reason, lines in counts.lines.items()} == counts.rejected
    return counts.events, counts.accepted, sum(counts.rejected.values()), highest


class TestAnyBytes:
    @settings(max_examples=12, deadline=None)
    @given(st.lists(json_pieces | st.binary(max_size=5), max_size=30).map(b"".join))
    def test_every_line_that_is_not_blank_is_accepted_or_refused(self, content: bytes) -> None:
        """Whatever the bytes of a JSONL file, its rows are its lines that hold more than white space."""
        lines = io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")).readlines()
        events, accepted, refused, highest = read("a.jsonl", content)
        assert events == accepted + refused == sum(bool(line.strip(b" \t\r\n")) for line in lines)
        assert highest <= len(lines)

    @settings(max_examples=12, deadline=None)
    @given(st.lists(csv_pieces | st.binary(max_size=5), max_size=30).map(b"".join))
    def test_no_record_of_a_csv_file_is_lost(self, content: bytes) -> None:
        """Whatever the bytes behind a CSV header, reading ends, and good records in front of them count."""
        good = b"x,2026-01-01,\n" * 3
        events, accepted, refused, _ = read("a.csv", b"user_id,ts,op\n" + good + content)
        assert events == accepted + refused
        assert accepted >= 3

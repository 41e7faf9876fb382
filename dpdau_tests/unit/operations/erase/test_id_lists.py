"""Lists of users to erase: which formats are read, and that no list is taken in part."""

from __future__ import annotations

import gzip
import io
import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from dpdau_assets.errors import InputError
from dpdau_assets.operations.erase.id_lists import ids_of_lines, read_user_ids
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.engine_reads import write_parquet
from dpdau_tests.support.workspaces import new_workspace

MARK = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Any data folder."""
    return new_workspace(tmp_path_factory.mktemp("ids") / "data")


def read(workspace: Workspace, path: Path, content: bytes | None = None, *, column: str | None = None) -> list[bytes]:
    """The ids in a file, sorted."""
    if content is not None:
        path.write_bytes(gzip.compress(content) if path.suffix.lower() == ".gz" else content)
    return sorted(read_user_ids(workspace, path, user_column=column))


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.csv", MARK + b"op,user_id,day\r\n-,a,2026-01-01\r\n,b,no time\r\n*,b,\r\n,,\r\n"),
            ("a.tsv", b'user_id\tname\na\tx\n"b"\ty\n'),
            ("a.CSV.GZ", b"user_id\na\nb\n"),
            ("a.jsonl", b'{"user_id":"a","op":"?"}\n\n{"user_id":"b"}\n{"other":1}\n'),
            ("a.ndjson.gz", MARK + b'{"user_id":"a"}\n{"user_id":"b"}'),
            ("a.txt", MARK + b"a\r\n\r\nb"),
            ("a", b"b\na\n"),
            ("a.txt.gz", b"a\nb\n"),
        ],
    )
    def test_text_in_every_format(self, workspace: Workspace, tmp_path: Path, name: str, content: bytes) -> None:
        """The ending tells the format; of a table the user column alone is read, with any op and no time."""
        assert sorted(set(read(workspace, tmp_path / name, content))) == [b"a", b"b"]

    @pytest.mark.parametrize("name", ["a.parquet", "a.dat"])
    def test_parquet_by_its_name_or_bytes(self, workspace: Workspace, tmp_path: Path, name: str) -> None:
        """A Parquet file is read as such under any name; whole numbers are their decimal text."""
        written = write_parquet(tmp_path / "new.parquet", {"user_id": pa.array([7, None, 7, 12])})
        assert read(workspace, written.rename(tmp_path / name)) == [b"12", b"7"]

    def test_the_column_can_be_named(self, workspace: Workspace, tmp_path: Path) -> None:
        """--user-column names the column of the ids."""
        assert read(workspace, tmp_path / "a.csv", b"user_id,who\nx,a\n", column="who") == [b"a"]
        assert read(workspace, tmp_path / "a.jsonl", b'{"who":5}\n', column="who") == [b"5"]

    def test_a_pipe_is_plain_text(self, workspace: Workspace, tmp_path: Path) -> None:
        """What can be read once only, as a shell's <(...) makes it, holds one id a line."""
        os.mkfifo(tmp_path / "pipe")
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"a\nb\n",))
        writer.start()
        assert read(workspace, tmp_path / "pipe") == [b"a", b"b"]
        writer.join()


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("a.csv", b"secret-1\nsecret-2\n", "--user-column"),
            ("a.csv", b"", "no row"),
            ("a.csv", b"user_id,x\nsecret,1\nsecret\n", "line 3"),
            ("a.csv", b"user_id\nsecret\xff\n", "not_utf8"),
            ("a.csv", b"user_id\rsecret\r", "carriage return"),
            ("a.jsonl", b'{"id":"secret"}\n', "--user-column"),
            ("a.jsonl", b'{"user_id":"secret"}\n{"user_id":"secret\n', "line 2"),
            ("a.txt", b"secret-1\rsecret-2\r", "carriage return"),
            ("a.txt", b"secret" * 300, "line 1"),
            ("a.parquet", b"PAR1secret", "Parquet"),
        ],
    )
    def test_a_list_is_taken_whole_or_not_at_all(
        self, workspace: Workspace, tmp_path: Path, name: str, content: bytes, said: str
    ) -> None:
        """A list whose ids cannot all be read is refused in one line that shows none of them."""
        with pytest.raises(InputError) as failure:
            read(workspace, tmp_path / name, content)
        line = f"{failure.value.message}; {failure.value.hint}"
        assert said in line
        assert "secret" not in line
        assert "\n" not in line

    def test_plain_text_has_no_columns(self, workspace: Workspace, tmp_path: Path) -> None:
        """A column named for a plain text is refused: its lines would be taken for ids."""
        with pytest.raises(InputError, match="plain text"):
            read(workspace, tmp_path / "a.txt", b"user_id,x\n", column="user_id")

    def test_broken_compression(self, workspace: Workspace, tmp_path: Path) -> None:
        """A compressed text that is cut short is refused."""
        (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a\n" * 1000)[:-9])
        with pytest.raises(InputError, match="compressed"):
            read(workspace, tmp_path / "a.txt.gz")


class TestLines:
    def test_a_byte_order_mark_belongs_to_no_id(self) -> None:
        """It is left out at the start and nowhere else; so are line ends and empty lines."""
        lines = MARK + b"a\r\n\n" + MARK + b"b\n"
        assert list(ids_of_lines(io.BytesIO(lines))) == [b"a", MARK + b"b"]

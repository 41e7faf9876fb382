"""SQLite is kept away from network file systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdau_assets.errors import ConfigurationError
from dpdau_assets.storage.disk.file_systems import file_system_of, refuse_network_file_system

MOUNTS = """/dev/vda / ext4 rw 0 0
server:/export /mnt/share nfs4 rw 0 0
//server/share /mnt/my\\040share cifs rw 0 0
user@host: /mnt/share/ssh fuse.sshfs rw 0 0
/dev/vdb /mnt/share/local xfs rw 0 0
host /mnt/p9 9p rw 0 0
server:/old /mnt/again nfs rw 0 0
/dev/vdc /mnt/again ext4 rw 0 0
/dev/fuse /mnt/disk fuseblk rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """A list of mounts as the kernel writes it."""
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


class TestFileSystemOf:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/home/x/ledger.sqlite", "ext4"),
            ("/mnt/share/ledger.sqlite", "nfs4"),
            ("/mnt/shared/ledger.sqlite", "ext4"),
            ("/mnt/my share/ledger.sqlite", "cifs"),
            ("/mnt/share/ssh/deep/ledger.sqlite", "fuse.sshfs"),
            ("/mnt/share/local/ledger.sqlite", "xfs"),
            ("/mnt/p9/ledger.sqlite", "9p"),
            ("/mnt/again/ledger.sqlite", "ext4"),
        ],
    )
    def test_the_nearest_and_latest_mount_counts(self, mounts: Path, path: str, kind: str) -> None:
        """The deepest mount over the path decides, and of two at one point the later."""
        assert file_system_of(Path(path), mounts=mounts) == kind

    def test_without_a_list_nothing_is_known(self, tmp_path: Path) -> None:
        """Where the kernel has no list the kind is unknown and nothing is refused."""
        assert file_system_of(Path("/x"), mounts=tmp_path / "none") == ""
        refuse_network_file_system(Path("/x"), mounts=tmp_path / "none")


class TestRefusal:
    @pytest.mark.parametrize("folder", ["/mnt/share", "/mnt/my share", "/mnt/share/ssh", "/mnt/p9"])
    def test_network_file_systems_are_refused(self, mounts: Path, folder: str) -> None:
        """NFS, CIFS, SSHFS and 9p are refused with a next step."""
        with pytest.raises(ConfigurationError, match="network file system") as caught:
            refuse_network_file_system(Path(folder) / "ledger.sqlite", mounts=mounts)
        assert "DATABASE_URL" in caught.value.hint

    @pytest.mark.parametrize("folder", ["/", "/mnt/share/local", "/mnt/again", "/mnt/disk"])
    def test_local_file_systems_are_accepted(self, mounts: Path, folder: str) -> None:
        """Local disks pass, FUSE over a block device included."""
        assert file_system_of(Path(folder), mounts=mounts)
        refuse_network_file_system(Path(folder) / "ledger.sqlite", mounts=mounts)

"""Tells which file system a path lies on, and refuses those on which SQLite's locks cannot be trusted.

Belongs here: reading the kernel's list of mounts. SQLite's locks need a local file system: over a network two writers
may both believe that they are alone, and would then overspend a budget.
"""

from __future__ import annotations

from pathlib import Path

from dpdau_assets.errors import ConfigurationError

MOUNTS = Path("/proc/self/mounts")
NETWORK_KINDS = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "gfs",
    "glusterfs",
    "lustre",
    "davfs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.davfs",
    "fuse.curlftpfs",
)
"""Prefixes of the kernel's names of network file systems."""


def refuse_network_file_system(path: Path, *, mounts: Path | None = None) -> None:
    """Raises ConfigurationError if `path` lies on a network file system, where SQLite's locks cannot be trusted.

    Args:
        path: The database file, existing or not.
        mounts: A list of mounts in the kernel's form; None reads the machine's.

    Raises:
        ConfigurationError: `path` lies on a network file system.
    """
    kind = file_system_of(path, mounts=mounts)
    if kind.startswith(NETWORK_KINDS):
        raise ConfigurationError(
            f"{path.parent} is on a network file system ({kind}), where SQLite's locks cannot be trusted",
            hint="set DATABASE_URL to an SQLite file on a local disk",
        )


def file_system_of(path: Path, *, mounts: Path | None = None) -> str:
    """Returns the kind of file system that holds (or would hold) `path`, such as `ext4`; "" if it is unknown."""
    resolved = str(path.resolve())
    best, kind = "", ""
    try:
        lines = (mounts or MOUNTS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split(" ")
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = point == "/" or resolved == point or resolved.startswith(point + "/")
        if inside and len(point) >= len(best):  # a later mount on the same mount point hides the earlier one
            best, kind = point, fields[2]
    return kind

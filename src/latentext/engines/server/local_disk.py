"""Whether a file would lie on a disk of this machine, where SQLite's locks can be relied on."""

from __future__ import annotations

import os
from pathlib import Path

from latentext.errors import SpecError

MOUNTS = Path("/proc/self/mounts")
"""Where Linux says what is mounted where."""

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "lustre", "beegfs", "gpfs", "ceph", "glusterfs", "afs", "ocfs2",
    "gfs2", "pvfs2", "orangefs", "panfs", "wekafs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs",
    "fuse.gcsfuse", "fuse.rclone", "fuse.mount-s3", "fuse.juicefs", "fuse.quobyte",
}  # fmt: skip


def refuse_network_file_system(path: Path) -> None:
    """Refuse a place where several machines write.

    Raises:
        SpecError: the file system of `path` is a network one (where the system says so: Linux).
    """
    kind = _file_system(path)
    if kind in _NETWORK:
        raise SpecError(
            f"is on a network file system ({kind}), where a journal of paid answers is not safe",
            where=str(path),
            remedy="place it on a local disk: --journal PATH",
            heading="The journal",
        )


def _file_system(path: Path) -> str | None:
    """The kind of file system that a path is, or would be, on; None where the system does not say."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found: tuple[int, str | None] = (-1, None)
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= found[0]:
            found = (len(point), kind)
    return found[1]

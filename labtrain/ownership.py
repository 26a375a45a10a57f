"""Where a run may live, and who may write to it: a local disk, one process at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

import psutil

from labtrain.errors import RunError
from labtrain.processlock import Held, ProcessLock

# SQLite's write-ahead log shares memory between processes, which no network file system does.
NETWORK_FILE_SYSTEMS = frozenset(
    ("afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "davfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs3",
     "nfs4", "rclone", "s3fs", "smb", "smb2", "smb3", "smbfs", "sshfs", "webdav")
)  # fmt: skip


def network_share(folder: PurePath, mounts: Iterable[tuple[str, str, str]]) -> str | None:
    """Say which network share an absolute path lies on, or None for a local disk.

    Parameters
    ----------
    folder : PurePath
        Absolute path; it need not exist.
    mounts : iterable of (mount point, file system type, options)
        As ``psutil.disk_partitions(all=True)`` gives them; the last of several on one mount point counts.
    """
    text = str(folder)
    if text.startswith("\\\\") and (not text.startswith(("\\\\?\\", "\\\\.\\")) or text[4:8].upper() == "UNC\\"):
        return folder.drive
    best, found = -1, None
    for point, kind, options in mounts:
        mount = type(folder)(point)
        if len(mount.parts) >= best and folder.is_relative_to(mount):
            best = len(mount.parts)
            remote = kind.lower().removeprefix("fuse.") in NETWORK_FILE_SYSTEMS or "remote" in options.split(",")
            found = f"{point}, {kind or 'remote drive'}" if remote else None
    return found


def refuse_network_share(folder: Path) -> None:
    """Raise RunError if `folder` (which need not exist yet) does not lie on a local disk."""
    mounts = [(part.mountpoint, part.fstype, part.opts) for part in psutil.disk_partitions(all=True)]
    share = network_share(folder.resolve(), mounts)
    if share is not None:
        raise RunError(
            f"{folder}: lies on a network share ({share}), where a run's database is not safe; "
            "choose a local disk with `--runs DIR` and copy the run afterwards"
        )


class RunLock:
    """One process at a time writes to a run.

    Parameters
    ----------
    folder : Path
        The run folder; holds ``lock`` (the lock itself) and ``lock.json`` (pid and host of the owner, for messages).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = ProcessLock(folder / "lock")

    def acquire(self) -> None:
        """Take the lock, or raise RunError naming its owner."""
        try:
            self._lock.acquire()
        except Held as held:
            owner = held.owner
            name = f"process {owner['pid']} on {owner.get('host')}" if owner else "another process"
            raise RunError(f"{self._folder}: in use by {name}; wait until it ends (`labtrain runs` shows it)") from None

    def release(self) -> None:
        self._lock.release()

    def held(self) -> bool:
        """Whether some process holds the lock at this moment."""
        return self._lock.held()

"""One writer for a run: two trainings in one folder would each overwrite what the other saves."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from util.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has no such locks: there nothing is checked
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a run's folder within the block, or say who does; a process that dies, however, lets go of it."""
    if fcntl is None:
        yield
        return
    made = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    # Not flock: that lock would live on in the workers of a loader whose process was killed.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UserError(_taken(folder, os.read(descriptor, 200).decode(errors="replace"))) from None
        except OSError:  # a file system without locks
            pass
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {platform.node()}".encode())
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            if made:
                with contextlib.suppress(OSError):  # it has got files
                    folder.rmdir()
    finally:
        os.close(descriptor)


def _taken(folder: Path, holder: str) -> str:
    process, _, machine = holder.partition(" ")
    here = not machine or machine == platform.node()
    who = f"process {process or 'unknown'}" + ("" if here else f" on {machine}")
    return (
        f"{folder} is being trained by {who}; two would overwrite each other's files: wait for its end, stop it (kill "
        f"{process or 'its number'} lets it save first), or give this one another --name"
    )

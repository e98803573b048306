# SPDX-License-Identifier: BSD-3-Clause
"""Things that are dear to make are made once and kept under BUILD/vm.

An artefact is a directory together with the recipe that it was made from, a
short text. Asking again with the same recipe returns the directory untouched;
another recipe makes it anew. Several tests ask at the same time, so each
artefact has a lock, and it appears under its name by a rename, complete or not
at all: what a killed process leaves behind is swept away by the next.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil

RECIPE = ".recipe"


@contextlib.contextmanager
def locked(path):
    """Hold an exclusive lock on `path`, shared by all processes that use it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def obtain(cache, name, recipe, make):
    """Return the directory `cache`/`name`; make(directory) fills a new one."""
    path = cache / name
    with locked(cache / f".{name}.lock"):
        with contextlib.suppress(FileNotFoundError):
            if (path / RECIPE).read_text() == recipe:
                return path
        fresh = cache / f".{name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        make(fresh)
        (fresh / RECIPE).write_text(recipe)
        shutil.rmtree(path, ignore_errors=True)
        fresh.rename(path)
    return path


def digest(*parts):
    """A short name for the given texts and byte strings, for use in a recipe."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()[:16]

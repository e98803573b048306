# SPDX-License-Identifier: BSD-3-Clause
"""Debian packages that are used but not installed, by the machine's own apt.

No mirror is named here: the machine's apt configuration is the only source of
host names, proxies and keys, and where another suite of Debian is needed, its
address is that of the suite the machine itself was installed from. What the
machine's package lists do not have is looked up with private lists, so that
nothing here needs root or changes the machine.
"""

import re
import shutil
import subprocess
from pathlib import Path

from .errors import Unavailable


def run(*argv, **options):
    """Run a command, return its output; a command that fails means 'not to be had'."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    except FileNotFoundError:
        raise Unavailable(f"{argv[0]} is not installed (see test/vm/packages.txt)") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"{argv[0]} failed: {reason}")
    return done.stdout


def codename():
    """The name of the Debian release that this machine runs."""
    release = Path("/etc/os-release").read_text()
    found = re.search(r'^VERSION_CODENAME="?(\w+)', release, re.M)
    if not found:
        raise Unavailable("/etc/os-release names no Debian release")
    return found.group(1)


def mirror():
    """The address that the machine's own Debian release comes from."""
    indexes = run("apt-get", "update", "--print-uris")
    found = re.search(rf"^'(\S+)/dists/{codename()}/InRelease'", indexes, re.M)
    if not found:
        raise Unavailable("apt has no source for the Debian release of this machine")
    return found.group(1)


def settings():
    """The machine's scalar network settings (proxies, checks), as apt.conf lines."""
    dump = run("apt-config", "dump", "--format", '%F "%v";%n', "Acquire")
    wanted = re.compile(r'^Acquire::(https?|Check-|Retries|AllowI)[^ ]* "[^"]+";$')
    return [line for line in dump.splitlines() if wanted.match(line)]


class Lists:
    """A set of package lists: the machine's, or private ones that are fetched anew."""

    def __init__(self, options=()):
        self._options = options

    @classmethod
    def private(cls, directory, *suites):
        """The machine's sources and `suites` of its mirror, listed in `directory`."""
        shutil.rmtree(directory, ignore_errors=True)
        for part in ("lists/partial", "cache/archives/partial"):
            (directory / part).mkdir(parents=True)
        sources = directory / "sources.list"
        own = Path("/etc/apt/sources.list")
        text = own.read_text() if own.exists() else ""
        sources.write_text(text + "".join(f"\ndeb {mirror()} {s} main\n" for s in suites))
        lists = cls(("-o", f"Dir::State::lists={directory}/lists",
                     "-o", f"Dir::Cache={directory}/cache",
                     "-o", f"Dir::Etc::sourcelist={sources}",
                     "-o", "Acquire::Languages=none"))
        run("apt-get", *lists._options, "update")
        return lists

    def newest(self, pattern):
        """(name, version, sha256) of the newest package whose name matches, or None."""
        names = run("apt-cache", *self._options, "search", "--names-only", pattern)
        names = [line.split()[0] for line in names.splitlines()]
        if not names:
            return None
        records = run("apt-cache", *self._options, "show", "--no-all-versions", *names)
        return max(map(_identity, records.strip().split("\n\n")),
                   key=lambda identity: _version_key(identity[1]))

    def download(self, name, version, directory):
        """Fetch a package into `directory`; return the file."""
        run("apt-get", *self._options, "-o", "APT::Sandbox::User=root",
            "download", f"{name}={version}", cwd=directory)
        return next(directory.glob(f"{name}_*.deb"))


def _identity(record):
    fields = dict(re.findall(r"^(\w+): (.*)$", record, re.M))
    return fields["Package"], fields["Version"], fields["SHA256"]


def _version_key(version):
    """Good enough to order the versions of one kernel series."""
    return [int(n) for n in re.findall(r"\d+", version)]

# SPDX-License-Identifier: BSD-3-Clause
"""The ways in which the project is built for its tests, as data, and how to
bring one up to date. Each has a Meson directory of its own under build/variants,
but for the default one, which is build itself: what `make` builds."""

import os
import shutil
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, 'build')

# clang's sanitizers need undefined symbols in the shared library (b_lundef).
# Sanitizers want frames, and inlining enough to end today: -O1.
SANITIZER = ['-Doptimization=1', '-Db_lundef=false', '-Dman=disabled']


class Configuration:
    """cc:       the compiler, None for the system's
    options:  for meson setup
    packages: purposes in tools/packages.txt, beyond those of the default build
    suites:   the suites of tests that are run on it; None: all
    quick:    whether it belongs to the quick tests
    slowdown: by how much its tests' time limits are stretched
    wrapper:  goes before each test's command"""

    def __init__(self, name, cc=None, options=(), packages=(), suites=None, quick=False,
                 slowdown=1, wrapper=()):
        self.name, self.cc, self.options = name, cc, list(options)
        self.packages, self.suites, self.quick = list(packages), suites, quick
        self.slowdown, self.wrapper = slowdown, list(wrapper)
        self.folder = BUILD if name == 'default' else os.path.join(BUILD, 'variants', name)


IN_PROCESS = ['unit', 'pair', 'fuzz']
OVER_A_SOCKET = ['wire', 'hostile']

CONFIGURATIONS = [
    Configuration('default', quick=True),
    # Another level of optimization than the default's: it warns of other things.
    Configuration('gcc', 'gcc', ['-Dwerror=true', '-Doptimization=3'], suites=IN_PROCESS),
    Configuration('clang', 'clang', ['-Dwerror=true'], ['clang'], suites=IN_PROCESS),
    Configuration('asan', 'gcc', SANITIZER + ['-Db_sanitize=address,undefined'],
                  suites=IN_PROCESS + OVER_A_SOCKET, quick=True, slowdown=4),
    # TSan maps its shadow at fixed addresses, which a kernel that randomizes
    # many bits of the address space may have given away: setarch -R.
    Configuration('tsan', 'clang', SANITIZER + ['-Db_sanitize=thread'], ['clang'],
                  suites=IN_PROCESS + OVER_A_SOCKET, slowdown=10, wrapper=['setarch', '-R']),
    # No tests but the fuzzers (tools/fuzz).
    Configuration('fuzz', 'clang',
                  SANITIZER + ['-Db_sanitize=address,undefined', '-Dfuzz=true'], ['clang'],
                  suites=[]),
]


def find(name):
    return next(c for c in CONFIGURATIONS if c.name == name)


def build(configuration, output):
    """Sets up and builds. Returns whether that worked; output is an open file."""
    def run(*command, env=None):
        return subprocess.run(command, cwd=TOP, env=env, stdin=subprocess.DEVNULL, stdout=output,
                              stderr=subprocess.STDOUT).returncode == 0

    folder = configuration.folder
    if configuration.name != 'default':
        # Set up again from nothing when what is asked for has changed.
        wanted = ' '.join([configuration.cc] + configuration.options)
        stamp = os.path.join(folder, 'configuration')
        if not os.path.exists(stamp) or open(stamp, encoding='utf-8').read() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            env = {**os.environ, 'CC': configuration.cc}
            if not run('meson', 'setup', folder, *configuration.options, env=env):
                return False
            with open(stamp, 'w', encoding='utf-8') as file:
                file.write(wanted)
    elif not os.path.exists(os.path.join(folder, 'build.ninja')):
        if not run('meson', 'setup', folder):
            return False
    return run('ninja', '-k', '0', '-C', folder)  # all there is to mend, not only the first

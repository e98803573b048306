# SPDX-License-Identifier: BSD-3-Clause
"""Each public header compiles alone, in C and in C++."""

import os
import shlex
import subprocess

FLAGS = ['-fsyntax-only', '-Wall', '-Wextra', '-Werror', '-pedantic']
LANGUAGES = [
    ('C', os.environ.get('CC', 'cc'), ['-x', 'c', '-std=c11']),
    ('C++', os.environ.get('CXX', 'c++'), ['-x', 'c++', '-std=c++11']),
]


def check(tree, report):
    for name in tree.select(['include'], ['.h']):
        for language, compiler, flags in LANGUAGES:
            # Included, not compiled itself: a main file with a guard earns warnings.
            # The declaration is for headers of macros only: no unit may be empty.
            text = '#include <%s>\nextern int something;\n' % name[len('include/'):]
            run = subprocess.run(shlex.split(compiler) + FLAGS + flags +
                                 ['-I', tree.path('include'), '-'], input=text.encode(),
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if run.returncode != 0:
                report(name, 'does not compile alone in %s:\n%s' % (
                    language, run.stdout.decode(errors='replace').rstrip()))

# SPDX-License-Identifier: BSD-3-Clause
"""What lies in the tree is built: a source, a test or a header that no
meson.build names would rot, or pass for tested, unseen."""

import os

# How such files begin and end.
BUILT = [('src/', '.c'), ('include/', '.h'), ('test/pair/', '.c'), ('test/store/', '.c'),
         ('test/wire/test_', '.py'), ('test/hostile/test_', '.py')]


def check(tree, report):
    for beginning, ending in BUILT:
        for name in tree.files:
            if name.startswith(beginning) and name.endswith(ending):
                check_file(tree, report, name)
    for name in tree.files:
        if name.startswith('test/fuzz/fuzz_') and name.endswith('.c'):
            check_fuzzer(tree, report, name)


def check_file(tree, report, name):
    """The meson.build beside it, or one further up, names it."""
    folder, below = os.path.split(name)
    while folder:
        meson = folder + '/meson.build'
        if meson in tree.files and "'%s'" % below in tree.text(meson):
            return
        folder, below = os.path.dirname(folder), os.path.basename(folder) + '/' + below
    report(name, 'is in no meson.build')


def check_fuzzer(tree, report, name):
    target = os.path.basename(name)[len('fuzz_'):-len('.c')]
    meson = 'test/fuzz/meson.build'
    if meson not in tree.files or "'%s'" % target not in tree.text(meson):
        report(name, 'target "%s" is not in %s' % (target, meson))
    if not any(f.startswith('test/fuzz/corpus/%s/' % target) for f in tree.files):
        report(name, 'has no input in test/fuzz/corpus/%s' % target)

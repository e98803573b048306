#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Proves that each rule of tidy.py can fail: a small tree that passes, and then
the same tree with one thing wrong at a time, which must give one finding, the
expected one. What must not be a finding is here too, with None expected."""

import os
import sys
import tempfile

sys.dont_write_bytecode = True

import source
import tidy

SPDX = '/* SPDX-License-Identifier: BSD-3-Clause */\n'
THEORY = '/*\n * How it works.\n */\n'
HEAD = SPDX + THEORY


def header(body):
    return SPDX + '#ifndef X_H\n#define X_H\n\n' + body + '\n#endif\n'


def function(name, lines, before=''):
    """A function of so many lines, braces included."""
    return before + 'int %s(void)\n{\n' % name + '    work();\n' * (lines - 2) + '}\n'


GOOD = {
    'include/outboard/a.h': header('/** Says so. */\nint ob_a(void);\n'),
    'src/base/util.h': SPDX,
    'src/base/util.c': HEAD + '#include "base/util.h"\n' + function('util', 70),
    'src/memory/map.h': SPDX + '#include <outboard/a.h>\n',
    'src/wire/virtio.h': SPDX,
    'src/wire/vhost_user.h': SPDX,
    'src/ring/device.h': SPDX,
    'src/ring/driver.h': SPDX,
    'src/ring/device.c': HEAD + '#include "ring/device.h"\n#include "memory/map.h"\n'
                                '#include "wire/virtio.h"\n#include "base/util.h"\n',
    'src/ring/device_test.c': HEAD + '#include "wire/vhost_user.h"\n',
    'src/device/blk.h': SPDX,
    'src/device/blk.c': HEAD + '#include "ring/device.h"\n#include "device/store/offload.h"\n',
    'src/device/store/offload.h': SPDX,
    'src/device/store/file_ring.h': SPDX,
    'src/device/store/null.h': SPDX,
    'src/device/store/file.c': HEAD + '#include "device/store/offload.h"\n'
                                      '#include "device/store/file_ring.h"\n',
    'src/transport/vhost_user.c': HEAD + '#include "wire/vhost_user.h"\n',
    'src/transport/channel_vvu.c': HEAD + '#include "ring/driver.h"\n',
    'src/cli/main.c': HEAD + '#include "transport/x.h"\nrow t[] = {\n    {"blk", blk, "a disk"},\n};\n',
    'src/transport/x.h': SPDX,
    'src/cli/meson.build': "# SPDX-License-Identifier: BSD-3-Clause\n['main.c', 'outboard-blk.1.scd']\n",
    'src/cli/outboard-blk.1.scd': '; SPDX-License-Identifier: BSD-3-Clause\n',
    'test/tidy/exceptions.txt': '',
}

FUZZ_MESON = "# SPDX-License-Identifier: BSD-3-Clause\n['a']\n"


def text(name):
    return GOOD[name]


def includes(name, *headers):
    return {name: HEAD + ''.join('#include "%s"\n' % h for h in headers)}


def public(body):
    return {'include/outboard/a.h': header(body)}


def long_file(lines, exceptions=''):
    return {'src/base/long.c': HEAD + '\n' * (lines - 4), 'test/tidy/exceptions.txt': exceptions}


def long_function(lines, exceptions='', before=''):
    return {'src/base/long.c': HEAD + '\n' + function('long_one', lines, before),
            'test/tidy/exceptions.txt': exceptions}


# What is changed in the good tree, and a part of the finding that must follow.
CASES = [
    ({}, None),
    # includes
    (includes('src/base/fd.c', 'memory/map.h'), 'base may include only base'),
    (includes('src/wire/v.c', 'memory/map.h'), 'wire may include only'),
    (includes('src/memory/m.c', 'wire/virtio.h'), 'memory may include only'),
    (includes('src/loop/l.c', 'memory/map.h'), 'loop may include only'),
    (includes('src/ring/r.c', 'wire/vhost_user.h'), 'ring may include only'),
    (includes('src/device/blk.c', 'transport/x.h'), 'device may include only'),
    (includes('src/device/blk.c', 'ring/driver.h'), 'device may not include ring/driver'),
    (includes('src/ring/device_split.c', 'ring/driver.h'), 'ring may not include ring/driver'),
    (includes('src/ring/driver.c', 'ring/device.h'), 'may not include'),
    (includes('src/device/blk.c', 'wire/vhost_user.h'), 'device may include only'),
    (includes('src/transport/vhost_user.c', 'device/blk.h'), 'transport may include only'),
    (includes('src/transport/vhost_user.c', 'ring/device.h'), 'transport may include only'),
    (includes('src/transport/channel_vvu.c', 'ring/device.h'), 'transport may include only'),
    (includes('src/frontend/f.c', 'transport/x.h'), 'frontend may include only'),
    (includes('src/device/store/file.c', 'device/store/null.h'), 'never includes its sibling'),
    (includes('src/device/store/null.c', 'device/store/file_ring.h'), 'never includes its sibling'),
    (includes('src/other/x.c', 'base/util.h'), 'src/other has no row'),
    (includes('src/base/fd.c', 'util.h'), 'is not relative to src/'),
    ({'src/base/fd.c': HEAD + '#include <base/util.h>\n'}, 'it is ours'),
    ({'src/base/fd.c': HEAD + '/* #include "memory/map.h" */\n'}, None),
    (public('#include "base/util.h"\n'), 'include/ never includes src/'),
    (public('#include <base/util.h>\n'), 'include/ never includes src/'),
    # sizes
    (long_file(500), None),
    (long_file(501), 'has 501 lines; the limit is 500'),
    (long_file(501, 'src/base/long.c 501\n'), None),
    (long_file(502, 'src/base/long.c 501\n'), 'has grown to 502'),
    (long_file(501, 'src/base/long.c 502\n'), 'tighten'),
    (long_file(500, 'src/base/long.c 501\n'), 'needs no exception'),
    ({'test/tidy/exceptions.txt': 'src/base/gone.c 501\n'}, 'there is no src/base/gone.c'),
    ({'test/tidy/exceptions.txt': 'src/base/util.c\n'}, 'expected FILE'),
    (long_function(71), 'long_one has 71 lines; the limit is 70'),
    (long_function(71, before='struct s {\n    int a;\n};\nint t[] = { 1, 2 };\n'), 'long_one has 71'),
    (long_function(71, before='__attribute__((format(printf, 1, 2))) static '), 'long_one has 71'),
    (long_function(71, before='#if A\nint f(void) {\n#else\nint f(int a) {\n#endif\n}\n'),
     'long_one has 71'),
    (long_function(71, 'src/base/long.c long_one 71\n'), None),
    (long_function(72, 'src/base/long.c long_one 71\n'), 'has grown to 72'),
    (long_function(70, 'src/base/long.c long_one 71\n'), 'needs no exception'),
    ({'src/base/long.c': HEAD + 'struct s {\n' + '    int a;\n' * 80 + '};\n'}, None),
    ({'src/base/long.c': HEAD + 'const char *t[] = {\n' + '    "{ f() {",\n' * 80 + '};\n'}, None),
    # comments
    ({'src/base/fd.c': THEORY}, 'does not open with SPDX'),
    ({'tools/x.py': 'print()\n'}, 'does not open with SPDX'),
    ({'src/base/fd.c': SPDX + '/* Short. */\n#include "base/util.h"\n'}, 'says how it works'),
    ({'src/base/fd.c': SPDX + '#include "base/util.h"\n' + THEORY}, 'says how it works'),
    (public('int ob_b(void);\n'), 'no comment says what this is'),
    (public('/** One. */\nint ob_a(void);\n\nint ob_b(void);\n'), 'no comment says what this is'),
    (public('struct ob_b {\n    int a;\n};\n'), 'no comment says what this is'),
    (public('#define OB_B 1\n'), 'no comment says what this is'),
    (public('/** Two. */\n#define OB_A 1\n#define OB_B 1\n'), None),
    (public('/** One. */\nstruct ob_b {\n    int a;\n    int b;\n};\n'), None),
    (public('#ifdef __cplusplus\nextern "C" {\n#endif\n/** A. */\nint ob_a(int a,\n    int b);\n'
            '#ifdef __cplusplus\n}\n#endif\n'), None),
    # headers
    (public('#ifndef __cplusplus\n/** One. */\nsize_t ob_a(void);\n#endif\n'),
     'does not compile alone in C:'),
    (public('#ifndef __cplusplus\n/** One. */\nint ob_a(int class);\n#else\n'
            '/** One. */\nint ob_a(int class);\n#endif\n'), 'does not compile alone in C++:'),
    # listed
    ({'src/base/meson.build': '# SPDX-License-Identifier: BSD-3-Clause\n'}, 'util.c: is in no meson'),
    ({'include/outboard/meson.build': '# SPDX-License-Identifier: BSD-3-Clause\n'},
     'a.h: is in no meson'),
    ({'test/fuzz/fuzz_a.c': HEAD, 'test/fuzz/meson.build': FUZZ_MESON}, 'has no input in'),
    ({'test/fuzz/fuzz_a.c': HEAD, 'test/fuzz/corpus/a/1': 'a'}, 'target "a" is not in'),
    ({'test/fuzz/fuzz_a.c': HEAD, 'test/fuzz/meson.build': FUZZ_MESON,
      'test/fuzz/corpus/a/1': 'TO' 'DO'}, None),
    # pages
    ({'src/cli/main.c': text('src/cli/main.c').replace('blk', 'net')}, 'has no src/cli/outboard-net'),
    ({'src/cli/main.c': HEAD}, 'no row of a table'),
    ({'src/cli/main.c': None}, 'main.c: is missing'),
    ({'src/cli/meson.build': "# SPDX-License-Identifier: BSD-3-Clause\n['main.c']\n"},
     'does not list'),
    # words
    ({'doc/a.md': 'a TO' 'DO\n'}, 'finish it'),
    ({'src/base/fd.c': HEAD + '/* FIX' 'ME */\n'}, 'finish it'),
    ({'tools/x.txt': 'http://deb.debian' '.org/x\n'}, 'host name'),
    ({'tools/x.txt': 'registry.npm' 'js.org\n'}, 'host name'),
    ({'doc/a.md': 'see ../sha' 'red/x\n'}, 'a path outside'),
    ({'doc/a.md': 'see /.lib' 'rary/x\n'}, 'a path outside'),
]


def plant(root, files):
    """Writes the files, and for each folder a meson.build that names them."""
    meson = {}
    for name in files:
        folder, base = os.path.split(name)
        meson.setdefault(folder + '/meson.build', "# SPDX-License-Identifier: BSD-3-Clause\n")
        meson[folder + '/meson.build'] += "'%s'\n" % base
    for name, content in {**meson, **files}.items():
        if content is not None:
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            with open(os.path.join(root, name), 'w', encoding='utf-8') as file:
                file.write(content)


def judge(change, expected, number):
    """What is wrong with the outcome of a case, or None."""
    with tempfile.TemporaryDirectory() as root:
        plant(root, {**GOOD, **change})
        found = tidy.findings(root, checks_for(expected, number))[1]
    if expected is None:
        return None if not found else 'expected no finding'
    if len(found) == 1 and expected in found[0]:
        return None
    return 'expected one finding with "%s", not %s' % (expected, found)


def checks_for(expected, number):
    """All of them; but the compilers run only for cases about them, as they are slow."""
    if number == 0 or 'compile' in (expected or ''):
        return tidy.CHECKS
    return [c for c in tidy.CHECKS if c.__name__ != 'headers']


def check_parser():
    """The lengths that the parser finds in this function-like text."""
    code = 'int a(void)\n{\n}\n\nextern "C" {\nstatic int\nb(int x) {\n  if (x) {\n  }\n}\n}\n'
    return list(source.functions(code)) == [('a', 2, 2), ('b', 7, 4)]


def main():
    failed = 0
    if not check_parser():
        failed += 1
        print('the parser finds other functions than there are')
    for number, (change, expected) in enumerate(CASES):
        wrong = judge(change, expected, number)
        if wrong:
            failed += 1
            print('case %d, %s: %s' % (number, ', '.join(change) or 'the good tree', wrong))
    print('%d cases, %d wrong' % (len(CASES) + 1, failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())

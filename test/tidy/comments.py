# SPDX-License-Identifier: BSD-3-Clause
"""Licence lines, theory of operation, and a word on each public declaration."""

import re

import source
import tables

LICENCE = 'SPDX-License-Identifier: BSD-3-Clause'
LICENSED = ('.c', '.h', '.py', '.sh', '.scd', 'meson.build', 'Makefile')


def check_licence(tree, report):
    for name in tree.files:
        if not name.endswith(LICENSED):
            continue
        lines = tree.text(name).split('\n')[:3]
        if not any(LICENCE in line for line in lines):
            report(name + ':1', 'does not open with ' + LICENCE)


def check_theory(tree, report):
    """The first comment after the licence, if an include does not come before it."""
    for name in tree.select(['src', 'test', 'bench'], ['.c']):
        text = tree.text(name)
        first = next(source.includes(text), None)
        lines = text.split('\n')
        head = '\n'.join(lines[:first[0] - 1] if first else lines)
        comments = re.findall(r'/\*.*?\*/', head, re.S)
        if not any(c.count('\n') + 1 >= tables.THEORY_LINES for c in comments):
            report(name + ':1', 'no comment of %d lines, before the first include, says how it works'
                   % tables.THEORY_LINES)


def check_public(tree, report):
    """Each declaration at the outer level of a public header ends a comment's wait:
    the line before it, or its own, holds one. Macros that only guard or mark are
    let off, and so are forward declarations of what another header explains."""
    for name in tree.select(['include'], ['.h']):
        text = tree.text(name)
        lines = text.split('\n')
        code = source.blank(text).split('\n')
        depth, start = 0, None
        for number, line in enumerate(code):
            stripped = line.strip()
            if depth == 0 and start is None and stripped and not is_frame(stripped):
                start = number
                if not documented(lines, number):
                    report('%s:%d' % (name, number + 1), 'no comment says what this is')
            if not stripped.startswith('#') and 'extern "' not in line:
                depth = max(depth + line.count('{') - line.count('}'), 0)
            if start is not None and depth == 0 and ends(stripped):
                start = None


def is_frame(line):
    """Lines that declare nothing: guards, includes, the C++ bracket."""
    if re.match(r'#\s*define\s+\w+_H$', line):
        return True
    if re.match(r'#\s*define\s', line):
        return False
    return line.startswith('#') or line in ('}', '};') or line.startswith('extern "')


def ends(line):
    return line.endswith((';', '}')) or (line.startswith('#') and not line.endswith('\\'))


def documented(lines, number):
    if '/*' in lines[number]:
        return True
    before = number - 1
    # A row of defines or declarations may share the comment above its first line.
    while before >= 0 and re.match(r'#\s*define\s|.*;\s*$', lines[before]) and \
            not re.match(r'\s*\*|\s*}', lines[before]) and '*/' not in lines[before]:
        before -= 1
    return before >= 0 and lines[before].rstrip().endswith('*/')


def check(tree, report):
    check_licence(tree, report)
    check_theory(tree, report)
    check_public(tree, report)

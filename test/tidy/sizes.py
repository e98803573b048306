# SPDX-License-Identifier: BSD-3-Clause
"""How long a file and a function may be: a ratchet (exceptions.txt)."""

import source
import tables

EXCEPTIONS = 'test/tidy/exceptions.txt'


def exceptions(tree, report):
    """{thing: (lines, line number)} of the exceptions file; a thing is a file's name,
    or a file's and a function's."""
    found = {}
    if EXCEPTIONS not in tree.files:
        return found
    for number, line in enumerate(tree.text(EXCEPTIONS).splitlines(), 1):
        words = line.split('#')[0].split()
        if not words:
            continue
        if len(words) not in (2, 3) or not words[-1].isdigit():
            report('%s:%d' % (EXCEPTIONS, number), 'expected FILE [FUNCTION] LINES')
            continue
        found[' '.join(words[:-1])] = (int(words[-1]), number)
    return found


def measure(tree):
    """(thing, lines, limit, where) of each file and each function."""
    for name in tree.select(tables.SIZED_FOLDERS, ['.c', '.h']):
        text = tree.text(name)
        yield name, text.count('\n'), tables.FILE_LINES, name
        for function, line, length in source.functions(text):
            yield '%s %s' % (name, function), length, tables.FUNCTION_LINES, '%s:%d' % (name, line)


def check(tree, report):
    allowed = exceptions(tree, report)
    for thing, lines, limit, where in measure(tree):
        recorded, number = allowed.pop(thing, (None, None))
        here = '%s:%s' % (EXCEPTIONS, number)
        if recorded is None:
            if lines > limit:
                report(where, '%s has %d lines; the limit is %d' % (thing, lines, limit))
        elif lines > recorded:
            report(where, '%s has grown to %d lines; its exception is %d' % (thing, lines, recorded))
        elif lines <= limit:
            report(here, '%s needs no exception any more: remove the line' % thing)
        elif lines < recorded:
            report(here, '%s has only %d lines: tighten its exception' % (thing, lines))
    for thing, (recorded, number) in allowed.items():
        report('%s:%d' % (EXCEPTIONS, number), 'there is no %s: remove the line' % thing)

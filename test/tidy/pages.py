# SPDX-License-Identifier: BSD-3-Clause
"""Each subcommand in the table of src/cli/main.c has its man page, and Meson knows it."""

import re

import source

MAIN = 'src/cli/main.c'


def subcommands(text):
    """The first strings of the rows of the table: {"blk", ...}, or .name = "blk"."""
    code = source.blank(text, strings=False)
    return re.findall(r'{\s*(?:\.name\s*=\s*)?"([a-z][a-z0-9-]*)"\s*,', code)


def check(tree, report):
    if MAIN not in tree.files:
        report(MAIN, 'is missing: the table of subcommands is read from it')
        return
    names = subcommands(tree.text(MAIN))
    if not names:
        report(MAIN, 'no row of a table of subcommands was found in it')
    meson = tree.text('src/cli/meson.build') if 'src/cli/meson.build' in tree.files else ''
    for name in names:
        page = 'outboard-%s.1.scd' % name
        if 'src/cli/' + page not in tree.files:
            report(MAIN, 'subcommand "%s" has no src/cli/%s' % (name, page))
        elif "'%s'" % page not in meson:
            report('src/cli/meson.build', 'does not list %s' % page)

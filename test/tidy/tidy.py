#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The rules of the house that a program can check: tidy.py [ROOT].

The rules stand in tables.py; each module below enforces some and reports
FILE:LINE and what to do about it."""

import os
import sys

sys.dont_write_bytecode = True

import comments
import headers
import includes
import listed
import pages
import sizes
import source
import words

CHECKS = [includes, sizes, comments, headers, listed, pages, words]


def findings(root, checks=CHECKS):
    tree = source.Tree(root)
    found = []
    for check in checks:
        check.check(tree, lambda where, what: found.append('%s: %s' % (where, what)))
    return tree, found


def main():
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    tree, found = findings(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else default))
    for line in found:
        print(line)
    print('%d files, %d findings' % (len(tree.files), len(found)))
    return 1 if found or not tree.files else 0


if __name__ == '__main__':
    sys.exit(main())

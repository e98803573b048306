# SPDX-License-Identifier: BSD-3-Clause
"""What no file may contain (tables.WORDS)."""

import re

import tables


def check(tree, report):
    rules = [(re.compile(pattern), why) for pattern, why in tables.WORDS]
    for name in tree.files:
        text = tree.text(name)
        if '\0' in text or '/corpus/' in name: # bytes that a fuzzer chose are not words
            continue
        for pattern, why in rules:
            for match in pattern.finditer(text):
                number = text.count('\n', 0, match.start()) + 1
                report('%s:%d' % (name, number), '"%s": %s' % (match.group(0), why))

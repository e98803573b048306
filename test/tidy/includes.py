# SPDX-License-Identifier: BSD-3-Clause
"""Who may include whom (tables.FOLDERS, tables.LEAVES)."""

import os

import source
import tables


def under(path, key):
    """Whether a path is in a folder, or its name begins as the key says."""
    return path.startswith(key + '/') or ('/' in key and path.startswith(key))


def group(folder, name):
    """The leaf, in a folder of leaves, that a file belongs to."""
    stem = os.path.splitext(name)[0]
    if stem.endswith('_test'):
        stem = stem[:-len('_test')]
    fitting = [g for g in tables.LEAVES[folder]['groups'] if stem == g or stem.startswith(g + '_')]
    return max(fitting, key=len) if fitting else stem.split('_')[0]


def objection(path, header):
    """Why src/PATH may not include HEADER, or None if it may."""
    own = path.split('/')[0]
    if own not in tables.FOLDERS:
        return 'src/%s has no row in test/tidy/tables.py' % own
    folder, name = os.path.split(path)
    if folder in tables.LEAVES and os.path.dirname(header) == folder:
        other = os.path.basename(header)
        if other not in tables.LEAVES[folder]['shared'] and group(folder, name) != group(folder, other):
            return 'a leaf never includes its sibling'
    allowed = {own, 'base'}
    for key, more in tables.FOLDERS.items():
        if under(path, key):
            allowed.update(more)
    denied = [entry[1:] for entry in allowed if entry.startswith('-')]
    if any(under(header, d) for d in denied):
        return '%s may not include %s' % (own, ', '.join(denied))
    if tables.EVERYTHING in allowed or any(under(header, a) for a in allowed):
        return None
    return '%s may include only %s' % (own, ', '.join(sorted(allowed)))


def check(tree, report):
    for name in tree.select(['src', 'include'], ['.c', '.h']):
        is_test = name.endswith('_test.c')
        for number, header, quote in source.includes(tree.text(name)):
            where = '%s:%d' % (name, number)
            if name.startswith('include/'):
                if quote == '"':
                    report(where, 'include/ never includes src/: "%s"' % header)
                elif '/include/' in header or header.startswith('src/') or (
                        os.path.exists(tree.path('src/' + header))):
                    report(where, 'include/ never includes src/: <%s>' % header)
                continue
            if quote == '<':
                if os.path.exists(tree.path('src/' + header)):
                    report(where, 'write "%s": it is ours' % header)
                continue
            if not os.path.exists(tree.path('src/' + header)):
                report(where, '"%s" is not relative to src/' % header)
            elif not is_test:
                why = objection(name[len('src/'):], header)
                if why:
                    report(where, '"%s": %s' % (header, why))

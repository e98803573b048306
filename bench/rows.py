# SPDX-License-Identifier: BSD-3-Clause
"""The rows of the race: what is run, who is compared with whom, and what is aimed at."""

import os
import re

from contenders import CPU_BACK, CPU_FRONT

SPAN = 1 << 30
SIZE = '4k'


class Entry:
    """A contender in a row, with the options that it is driven with. name: for the table."""

    def __init__(self, contender, options=(), name=None):
        self.contender, self.options = contender, list(options)
        self.name = name or contender.name


class Row:
    """ours are compared with each of theirs.

    measure: a result's figure, the larger the better; target: ours / theirs at least."""

    def __init__(self, title, options, ours, theirs, target, measure=None, unit='IOPS'):
        self.title, self.options, self.target, self.unit = title, options, target, unit
        self.ours, self.theirs = ours, theirs
        # Where both sides poll, a cache line's way is what counts; else it hardly does.
        self.placed = '--poll' in options
        self.measure = measure or (lambda result: result['iops'])


def cpu_per_request(result):
    """Requests a CPU second of the back-end."""
    return result['requests'] / max(result['cpu_s'].get('back_end', 0), 0.005)


def speed(result):
    """Of one request, so that larger is better."""
    return 1e9 / result['latency_ns']['p50']


def both_rings(contender):
    return [Entry(contender, [], contender.name + ', split'),
            Entry(contender, ['--packed'], contender.name + ', packed')]


def null_rows(field):
    depth = ['--size', SIZE, '--depth', '64', '--poll']
    rows = []
    for ring in ([], ['--packed']):
        word = 'packed' if ring else 'split'
        rows.append(Row('null, polled, depth 64, %s' % word, depth + ring,
                        [Entry(field.outboard('null:64G', 'always'))], [Entry(field.bare())], 0.75))
        rows.append(Row('null, polled, depth 1, %s: speed' % word,
                        ['--size', SIZE, '--depth', '1', '--poll'] + ring,
                        [Entry(field.outboard('null:64G', 'always'))], [Entry(field.bare())],
                        1 / 1.3, speed, '1/p50'))
    always = field.outboard('null:64G', 'always')
    rows.append(Row('null, polled, depth 64: packed beside split', depth,
                    [Entry(always, ['--packed'], 'outboard packed')],
                    [Entry(always, [], 'outboard split')], 1.0))
    rows.append(Row('null, polled, depth 64', depth, [Entry(field.outboard('null:64G', 'always'))],
                    [Entry(c) for c in field.storage_daemons(NULL, True)], 15))
    rows.append(Row('null, event, depth 64', ['--size', SIZE, '--depth', '64'],
                    [Entry(field.outboard('null:64G', 'off'))],
                    [Entry(c) for c in field.storage_daemons(NULL, False)], 3))
    return rows


NULL = 'driver=null-co,size=%d,read-zeroes=off' % (64 << 30)


def file_rows(field, name, path):
    with open(path, 'wb') as file:
        # Real blocks: a hole is answered by the file system alone.
        for _ in range(SPAN >> 24):
            file.write(os.urandom(1 << 12) * (1 << 12))
        os.fsync(file.fileno())
    node = 'driver=file,filename=%s,aio=io_uring,cache.direct=on,locking=off' % path
    rows = []
    for mode, poll in (('off', False), ('auto', True)):
        for title, measure, unit, target in (('IOPS', None, 'IOPS', 1.5),
                                             ('per CPU', cpu_per_request, 'requests/CPU s', 1.0)):
            rows.append(Row('%s, %s, depth 32: %s' % (name, 'event' if mode == 'off' else 'auto',
                                                     title),
                            ['--size', SIZE, '--depth', '32'],
                            [Entry(field.outboard('file:' + path, mode))],
                            [Entry(c) for c in field.storage_daemons(node, poll)], target, measure,
                            unit))
    return rows


def copy_rows(field):
    ours = field.outboard('memory:%d' % SPAN, 'always')
    return [Row('memory, polled, depth 64', ['--size', SIZE, '--depth', '64', '--poll'],
                [Entry(ours)], [Entry(Memcpy())], 0.85)]


class Memcpy:
    """A plain loop of copies over the same source span into as many buffers."""

    name = 'memcpy loop'
    words = ['copy', '--span', str(SPAN), '--cpu', str(CPU_BACK), '--line', str(CPU_FRONT)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def scaling_rows(field):
    ours = field.outboard('null:64G', 'always')
    base = ['--size', SIZE, '--depth', '32', '--poll']
    return [Row('null, polled, %d queues beside 1' % n, base,
                [Entry(ours, ['--queues', str(n)], '%d queues' % n)],
                [Entry(ours, ['--queues', '1'], '1 queue')], 1.0) for n in (2, 4)]


def rows(field, pattern):
    """All rows whose title matches."""
    tmpfs = os.path.join('/dev/shm', 'outboard-bench-%d.img' % os.getpid())
    disk = os.path.join(field.scratch, 'disk.img')
    made = null_rows(field) + copy_rows(field) + scaling_rows(field)
    for name, path in (('file on tmpfs', tmpfs), ('file on disk', disk)):
        if re.search(pattern, name) or any(re.search(pattern, name + t) for t in
                                           (', event', ', auto')):
            made += file_rows(field, name, path)
    return [row for row in made if re.search(pattern, row.title)], [tmpfs, disk]

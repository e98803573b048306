#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The race: Outboard beside its peers, with the same front-end, on the same two CPUs.

Each row runs its contenders in turn, round after round, and prints ratios. Absolute figures are
noise on shared machines; and two virtual CPUs may be near each other or far apart, and change
without notice, several times a second. So where both sides poll, runs are short and many, the
round trip of a cache line is measured around each, and only runs of one placement are compared.
A ratio is that of the medians, and its spread that of their quartiles: the lower quartile of ours
by the upper of theirs, and the other way round. A ratio whose spread covers the target has not
met it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'test', 'vm')]

import contenders
import plot
import rows as race
from harness import qemu
from harness.errors import Unavailable

NEAR_NS = 180  # a round trip below is that of CPUs that share a cache
PLACED_ROUNDS, PLACED_SECONDS = 6, 0.06  # times as many rounds, each that short
RUNS_MIN = 4   # of each in one placement, for a ratio to be told


def placement(result):
    """near or far; None if it changed during the run, which then counts for nothing."""
    sides = {'near' if result[key] < NEAR_NS else 'far'
             for key in ('line_ns_before', 'line_ns_after')}
    return sides.pop() if len(sides) == 1 else None


def measure(program, entry, row, seconds):
    """One run, as JSON tells it."""
    command = [program, 'bench', *entry.contender.words, *row.options, *entry.options,
               '--time', str(seconds), '--warm-up', str(seconds / 3), '--json']
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise RuntimeError('%s\n%s' % (' '.join(command), run.stderr))
    result = json.loads(run.stdout)
    if not result['requests']:
        raise RuntimeError('%s: nothing was served' % ' '.join(command))
    result['contender'], result['placement'] = entry.name, placement(result)
    return result


def run_row(program, row, rounds, seconds):
    """Results by entry, a list of one a round."""
    entries = row.ours + row.theirs
    if row.placed:
        rounds, seconds = rounds * PLACED_ROUNDS, PLACED_SECONDS
    results = {entry: [] for entry in entries}
    with contextlib.ExitStack() as stack:
        for contender in {id(e.contender): e.contender for e in entries}.values():
            stack.enter_context(contender)
        for number in range(rounds):
            if sys.stderr.isatty():
                sys.stderr.write('\r%s: round %d of %d \033[K' % (row.title, number + 1, rounds))
            # The other way round each time, so that nobody always has the better place.
            for entry in entries if number % 2 == 0 else reversed(entries):
                results[entry].append(measure(program, entry, row, seconds))
    if sys.stderr.isatty():
        sys.stderr.write('\r\033[K')
    return results


def compare(row, mine, other, side):
    """The ratio of two lists of results within a placement, or None if there are too few."""
    def figures(results):
        return [row.measure(r) for r in results if side in (r['placement'], 'any')]

    ours, theirs = figures(mine), figures(other)
    if min(len(ours), len(theirs)) < RUNS_MIN:
        return None
    (a1, a2, a3), (b1, b2, b3) = (statistics.quantiles(f, n=4) for f in (ours, theirs))
    return {'placement': side, 'ratio': a2 / b2, 'low': a1 / b3, 'high': a3 / b1,
            'runs': [len(ours), len(theirs)], 'ours': a2, 'theirs': b2}


def verdict(row, ratio):
    if ratio['low'] >= row.target:
        return 'met'
    return 'NOT MET' if ratio['high'] < row.target else 'not shown'


def scaled(value):
    for unit in ('', 'k', 'M', 'G'):
        if value < 1000 or unit == 'G':
            return '%.3g %s' % (value, unit)
        value /= 1000


def report(row, results):
    found = []
    for ours in row.ours:
        for theirs in row.theirs:
            ratios = [compare(row, results[ours], results[theirs], side)
                      for side in (('near', 'far') if row.placed else ('any',))]
            for ratio in filter(None, ratios):
                ratio.update(row=row.title, entry=ours.name, other=theirs.name, unit=row.unit,
                             target=row.target, verdict=verdict(row, ratio))
                found.append(ratio)
                print('%-44s %-16s %-4s %9s %9s  %6.2f (%.2f to %.2f)  %5.2f  %s' % (
                    row.title, 'x ' + theirs.name, ratio['placement'], scaled(ratio['ours']),
                    scaled(ratio['theirs']), ratio['ratio'], ratio['low'], ratio['high'],
                    row.target, ratio['verdict']), flush=True)
            if not any(ratios):
                print('%-44s %-16s the placement changed too often to compare' % (
                    row.title, 'x ' + theirs.name), flush=True)
    return found


def emulators(build):
    found = []
    for make in (qemu.system, lambda: qemu.private(pathlib.Path(build, 'vm'))):
        try:
            found.append(make())
        except Unavailable as reason:
            print('left out: %s' % reason)
    return found


def machine():
    with open('/proc/cpuinfo') as file:
        model = next((line.split(':')[1].strip() for line in file if 'model name' in line), '?')
    return '%d CPUs, %s, Linux %s' % (os.cpu_count(), model, os.uname().release)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--time', type=float, default=0.5, help='seconds a run')
    parser.add_argument('--row', default='', help='only rows whose title matches this')
    parser.add_argument('--build-dir', default=os.path.join(HERE, '..', 'build'))
    return parser.parse_args()


def main():
    options = arguments()
    build = os.path.abspath(options.build_dir)
    program = os.path.join(build, 'outboard')
    if os.cpu_count() < 2:
        print('the race needs two CPUs')
        return 77
    print('%s; back-end on CPU %d, front-end on CPU %d, %d rounds of %.1f s' % (
        machine(), contenders.CPU_BACK, contenders.CPU_FRONT, options.rounds, options.time))
    print('%-44s %-16s %-4s %9s %9s  %s' % ('row', 'beside', 'CPUs', 'ours', 'theirs',
                                            'ratio (spread)  target'))
    found, raw = [], []
    with tempfile.TemporaryDirectory(prefix='bench-', dir=build) as scratch:
        field = contenders.Field(program, scratch, emulators(build))
        rows, files = race.rows(field, options.row)
        try:
            for row in rows:
                results = run_row(program, row, options.rounds, options.time)
                found += report(row, results)
                raw += [dict(r, row=row.title) for rs in results.values() for r in rs]
        finally:
            for path in files:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
    where = os.path.join(build, 'bench')
    os.makedirs(where, exist_ok=True)
    with open(os.path.join(where, 'race.json'), 'w') as file:
        json.dump({'machine': machine(), 'time': time.strftime('%F %T'), 'ratios': found,
                   'runs': raw}, file, indent=1)
    plot.draw(found, os.path.join(where, 'race.svg'))
    print('in %s: race.json, race.svg' % os.path.relpath(where))
    return 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`outboard bench` against `outboard blk`: what is written is read back through every kind of
ring, the figures it prints make sense, and what it cannot do is refused with a reason. (Against
back-ends of others: test/vm/test_bench_peers.py.)"""

import json
import os
import subprocess
import tempfile
import xml.etree.ElementTree

import program

QUICK = ['--time', '0.3', '--warm-up', '0.05', '--size', '4k']


def bench(*arguments, fails=False):
    run = subprocess.run([program.BINARY, 'bench', *arguments], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, timeout=60)
    if fails:
        assert run.returncode in (1, 2), run
        return run.stderr
    assert run.returncode == 0, (arguments, run.returncode, run.stdout, run.stderr)
    return run.stdout


def measured(served, *arguments):
    result = json.loads(bench('blk', 'vhost-user:' + served.path, *QUICK, '--json', *arguments))
    assert result['errors'] == 0 and result['requests'] > 0, result
    return result


def test_every_ring_keeps_data():
    rings = [[], ['--packed'], ['--direct'], ['--packed', '--direct'], ['--packed', '--in-order'],
             ['--packed', '--in-order', '--direct']]
    with program.Program() as served:
        for ring in rings:
            for waiting in ([], ['--poll']):
                result = measured(served, '--verify', '--pattern', 'mixed', '--depth', '32', *ring,
                                  *waiting)
                assert result['packed'] == ('--packed' in ring)


def test_shapes():
    with program.Program('--queues', '4') as served:
        for shape in (['--depth', '1', '--queue-size', '4'], ['--depth', '256'],
                      ['--queues', '4', '--depth', '16'], ['--size', '1M', '--depth', '4'],
                      ['--size', '512', '--depth', '64'],
                      ['--packed', '--queue-size', '100', '--depth', '100']):
            measured(served, '--verify', '--pattern', 'mixed', *shape)
        for pattern in ('read', 'write', 'randread', 'randwrite'):
            measured(served, '--verify', '--pattern', pattern)


def test_figures():
    with program.Program(source='null:1G') as served:
        result = measured(served, '--depth', '8', '--poll')
        latency = result['latency_ns']
        marks = [latency[key] for key in ('p50', 'p90', 'p99', 'p99_9', 'p99_99')]
        assert marks == sorted(marks) and marks[0] > 0, latency
        assert abs(result['iops'] - result['requests'] / result['seconds']) < 1, result
        assert abs(result['bytes_per_s'] - 4096 * result['iops']) < 5000, result
        assert result['cpu_s']['front_end'] > 0 and 'back_end' in result['cpu_s'], result
        # As many as are asked for, when that is little.
        paced = measured(served, '--rate', '500', '--time', '2')
        assert 350 < paced['iops'] < 650, paced


def test_verify_notices():
    """A disk that forgets is found out: nothing else proves that checks are made."""
    with program.Program(source='null:1G') as served:
        run = subprocess.run([program.BINARY, 'bench', 'blk', 'vhost-user:' + served.path, *QUICK,
                              '--verify', '--pattern', 'mixed', '--span', '16M'],
                             stdout=subprocess.PIPE, text=True, timeout=60)
        assert run.returncode == 1 and 'ERRORS' in run.stdout, run


def test_plot_and_memory_file():
    with tempfile.TemporaryDirectory() as folder, program.Program() as served:
        plot, memory = os.path.join(folder, 'p.svg'), os.path.join(folder, 'memory')
        with open(memory, 'wb') as file:
            file.truncate(8 << 20)
        bench('blk', 'vhost-user:' + served.path, *QUICK, '--depth', '4', '--plot', plot)
        assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith('svg')
        measured(served, '--verify', '--pattern', 'mixed', '--memory-file', memory + ',offset=2M')
        said = bench('blk', 'vhost-user:' + served.path, '--memory-file', memory + ',offset=8M',
                     fails=True)
        assert 'enlarge it' in said, said


def test_refusals():
    with program.Program(source='memory:1M') as served:
        endpoint = 'vhost-user:' + served.path
        for arguments, reason in (
                (['blk', 'vhost-user:/nowhere/at/all'], 'cannot connect'),
                (['blk', 'elsewhere:x'], 'is no endpoint'),
                (['blk'], 'write what to measure'),
                (['blk', endpoint, '--size', '1000'], 'multiple of 512'),
                (['blk', endpoint, '--in-order'], 'needs --packed'),
                (['blk', endpoint, '--depth', '300', '--queue-size', '512'], 'too small'),
                (['blk', endpoint, '--depth', '100', '--queue-size', '64'], 'has room for'),
                (['blk', endpoint, '--queues', '64', '--depth', '1', '--queue-size', '3'],
                 'cannot take requests')):
            said = bench(*arguments, fails=True)
            assert reason in said, (arguments, said)


if __name__ == '__main__':
    program.run()

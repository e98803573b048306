# SPDX-License-Identifier: BSD-3-Clause
"""Runs tests, several at a time, and says how each ended.

A test is a program that exits 0 (passed), 77 (skipped; the last line that it
printed says why) or anything else (failed). What it prints goes to a file that
is kept. It has a process group of its own, which is killed when its time is up
and when it ends, so that nothing that it started outlives it unseen."""

import glob
import json
import os
import re
import signal
import subprocess
import time

SKIPPED = 77
TAIL_LINES = 60
COLOUR = re.compile(r'\x1b\[[0-9;]*[mK]')


class Test:
    """kind:     tests of one kind share a limit on how many run at a time
    alone:    nothing else may run meanwhile (it measures times)
    expected: seconds that it is believed to take, if no earlier run says"""

    def __init__(self, name, command, kind='', env=None, cwd=None, timeout=60, alone=False,
                 expected=1):
        self.name, self.command, self.kind, self.env = name, command, kind, env or {}
        self.cwd, self.timeout, self.alone, self.expected = cwd, timeout, alone, expected
        self.process = self.log = self.started = None


class Runner:
    def __init__(self, folder, slots, limits):
        """folder: for logs; slots: tests at a time; limits: {kind: tests at a time}."""
        self.folder, self.slots, self.limits = folder, slots, limits
        self.passed, self.failed, self.skipped = [], [], []
        os.makedirs(folder, exist_ok=True)
        self.times_file = os.path.join(folder, 'times.json')
        try:
            with open(self.times_file, encoding='utf-8') as file:
                self.times = json.load(file)
        except (OSError, ValueError):
            self.times = {}

    def log_path(self, name):
        return os.path.join(self.folder, re.sub(r'[^\w.-]', '_', name) + '.log')

    def record(self, name, outcome, seconds, detail=''):
        """One line a test; more only when it failed."""
        word = {'passed': 'ok  ', 'failed': 'FAIL', 'skipped': 'skip'}[outcome]
        print('%s  %-44s %7.2f s' % (word, name, seconds), flush=True)
        if outcome == 'failed':
            for line in COLOUR.sub('', detail).splitlines():
                print('      | ' + line, flush=True)
        getattr(self, outcome).append((name, detail))

    def start(self, test):
        path = self.log_path(test.name)
        # The reports of every process of a test, also of one whose exit nobody checks.
        for old in glob.glob(glob.escape(path) + '.report*'):
            os.unlink(old)
        report = 'log_path=%s.report' % path
        env = {
            **os.environ,
            'ASAN_OPTIONS': report + ':detect_stack_use_after_return=1',
            'UBSAN_OPTIONS': report + ':print_stacktrace=1',
            'TSAN_OPTIONS': report + ':halt_on_error=1:second_deadlock_stack=1',
            **test.env,
        }
        test.log = open(path, 'wb')
        test.started = time.monotonic()
        try:
            test.process = subprocess.Popen(
                test.command, env=env, cwd=test.cwd, stdin=subprocess.DEVNULL, stdout=test.log,
                stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            test.log.close()
            self.record(test.name, 'failed', 0, str(error))
            return False
        return True

    def kill(self, test):
        try:
            os.killpg(test.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def finish(self, test, status, seconds):
        self.kill(test)
        test.log.close()
        path = self.log_path(test.name)
        with open(path, encoding='utf-8', errors='replace') as file:
            lines = file.read().rstrip().splitlines()
        reports = ''
        for name in sorted(glob.glob(glob.escape(path) + '.report*')):
            with open(name, encoding='utf-8', errors='replace') as file:
                reports += file.read()
        if status == 0 and not reports:
            self.times[test.name] = round(seconds, 2)
            self.record(test.name, 'passed', seconds)
        elif status == SKIPPED and not reports:
            self.record(test.name, 'skipped', seconds, lines[-1] if lines else 'no reason given')
        else:
            why = {None: 'no end after %d s' % test.timeout}.get(status, 'exit status %s' % status)
            tail = lines[-TAIL_LINES:] + reports.splitlines()[:TAIL_LINES]
            self.record(test.name, 'failed', seconds,
                        '\n'.join(tail + ['(%s; all of it: %s)' % (why, path)]))

    def fits(self, test, running):
        if test.alone or any(t.alone for t in running):
            return not running
        of_kind = sum(t.kind == test.kind for t in running)
        return len(running) < self.slots and of_kind < self.limits.get(test.kind, self.slots)

    def run(self, tests):
        """The longest first, so that none starts late; those that run alone, last."""
        waiting = sorted(tests, key=lambda t: (t.alone, -self.times.get(t.name, t.expected)))
        running = []
        try:
            while waiting or running:
                for test in list(waiting):
                    if self.fits(test, running):
                        waiting.remove(test)
                        if self.start(test):
                            running.append(test)
                time.sleep(0.01)
                for test in list(running):
                    status = test.process.poll()
                    seconds = time.monotonic() - test.started
                    if status is not None or seconds > test.timeout:
                        running.remove(test)
                        self.finish(test, status, seconds)
        finally:
            for test in running:
                self.kill(test)
        with open(self.times_file, 'w', encoding='utf-8') as file:
            json.dump(self.times, file, indent=1, sort_keys=True)

    def summary(self):
        """What a reader wants at the end; returns the exit status."""
        for title, outcomes in (('Skipped', self.skipped), ('Failed', self.failed)):
            if outcomes:
                print('\n%s:' % title)
            for name, detail in outcomes:
                print('  %s%s' % (name, ': ' + detail if title == 'Skipped' else ''))
        print('\n%d passed, %d failed, %d skipped' % (
            len(self.passed), len(self.failed), len(self.skipped)), flush=True)
        return 1 if self.failed or not self.passed else 0

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A guest that does not end well must never pass, and the message must say why.

Guests without a disk that panic, hang, end early, end with a bad verdict, end
without a word, and reboot.
"""

import sys

from harness.case import main
from harness.errors import Failure
from harness.guest import PASSED, Guest


def case_of(act, expected, **options):
    """A case in which act(guest) must fail with a message that contains `expected`."""
    def run(case):
        with Guest(case, case.emulator(), memory=256, **options) as guest:
            try:
                act(guest)
            except Failure as reason:
                if expected not in str(reason):
                    raise
                return f"({reason})"
        raise Failure("this should not have passed")
    return run


CASES = {
    "panic": case_of(lambda g: g.run("echo c > /proc/sysrq-trigger"), "panicked: Kernel panic"),
    "hang": case_of(lambda g: g.run("sleep 60", timeout=1), "hangs: nothing for 1 s"),
    "early": case_of(lambda g: g.run("poweroff -f"), "ended early"),
    "verdict": case_of(lambda g: g.run("verdict 5"), "ended with verdict 5"),
    "mute": case_of(lambda g: (g.run("rm /dev/ttyS0"), g.finish()), "did not say so"),
    "step": case_of(lambda g: g.run("echo trouble; exit 3"), "failed with 3"),
    "reboot": case_of(lambda g: g.run("reboot -f"), "rebooted unasked",
                      may_reboot=True),
}

if __name__ == "__main__":
    sys.exit(main(__doc__, CASES, quick=["panic", "hang", "early", "mute"]))

# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's monitor: commands and the events between them."""

import json

from .errors import Failure
from .lines import Lines

TIMEOUT = 30


class Qmp:
    """A monitor connection; `lines` may be any object that reads and writes lines."""

    def __init__(self, lines=None):
        self.lines = lines or Lines()
        self._events = []

    def greet(self, timeout=TIMEOUT):
        """Wait for the greeting, which tells that QEMU is up, and leave negotiation."""
        if "QMP" not in json.loads(self.lines.read(timeout)):
            raise Failure("the monitor does not greet")
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        """Run a command and return its result."""
        self.lines.write(json.dumps({"execute": name, "arguments": arguments}))
        while True:
            answer = json.loads(self.lines.read(TIMEOUT))
            if "event" in answer:
                self._events.append(answer)
            elif "error" in answer:
                raise Failure(f"{name}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait_event(self, name, timeout=TIMEOUT):
        """Wait for an event of that name, past or to come, and return it."""
        while True:
            for event in self._events:
                if event["event"] == name:
                    self._events.remove(event)
                    return event
            answer = json.loads(self.lines.read(timeout))
            if "event" in answer:
                self._events.append(answer)

# SPDX-License-Identifier: BSD-3-Clause
"""The three ways in which a test ends other than well.

A Failure is the product's (or the test's) fault. A Skip says that this test
makes no sense with this back-end. Unavailable says that the machine cannot
give what the test needs: a skip too, unless OUTBOARD_REQUIRE_VM=1 is set, as
it is where the tests must not be passed over in silence.
"""


class Failure(Exception):
    """Something was not as it must be; the message says what."""


class Skip(Exception):
    """The test does not apply here; the message says why."""


class Unavailable(Skip):
    """The machine lacks what the test needs; the message says what."""

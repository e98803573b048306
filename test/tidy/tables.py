# SPDX-License-Identifier: BSD-3-Clause
"""The rules, as data. What each table means is said here; how it is enforced,
in the module beside this one that is named after it."""

# --- includes ---------------------------------------------------------------
#
# Which folder of src/ may include which, besides itself, `base` and the public
# headers. A key is a folder, or a folder and the beginning of a file's name;
# a file is under every key that fits. A value is a list of folders, of
# folders with the beginning of a header's name, or of EVERYTHING; what begins
# with a minus is taken away again. A new folder needs a row. Unit tests
# (x_test.c) may include everything.
EVERYTHING = '*'
DEVICE_HALF = ['ring', '-ring/driver']
FOLDERS = {
    'base': [],
    'wire': [],
    'memory': [],
    'loop': [],
    'ring': ['memory', 'wire/virtio'],
    'ring/device': DEVICE_HALF,
    'ring/driver': ['-ring/device', '-ring/queue'],
    'pci': ['wire', 'memory', 'loop'],
    'device': DEVICE_HALF + ['memory', 'loop', 'wire/virtio'],
    'transport': ['wire', 'memory', 'loop'],
    'transport/virtio_pci': ['pci'],
    'transport/channel_vvu': ['pci', 'ring/driver'],
    'driver': ['-ring/device', '-ring/queue', 'ring', 'wire/virtio', 'memory', 'loop'],
    'frontend': ['wire', 'memory', 'loop'],
    'frontend/virtio_pci': ['pci'],
    'relay': ['ring', 'memory', 'loop'],
    'vvu': DEVICE_HALF + ['pci', 'wire', 'memory', 'loop'],
    'cli': [EVERYTHING],
}

# A leaf never includes its sibling: in these folders, files are grouped by the
# beginning of their names (the longest that fits; by default the name up to the
# first underscore), and a file includes headers of its own group only, or one
# of the headers that the folder shares.
LEAVES = {
    'device/store': {'groups': [], 'shared': ['offload.h']},
    'device/port': {'groups': [], 'shared': []},
}

# --- sizes ------------------------------------------------------------------
#
# Lines in a .c or .h file, and from a function's opening brace to its closing
# one. exceptions.txt lists what is longer; it may only shrink.
FILE_LINES = 500
FUNCTION_LINES = 70
SIZED_FOLDERS = ['src', 'include', 'test', 'bench']

# --- comments ---------------------------------------------------------------
#
# A .c file opens with its licence and then, before the first include, with a
# comment that says how it works, of at least this many lines.
THEORY_LINES = 3

# --- words ------------------------------------------------------------------
#
# What no file of the project may contain, as regular expressions; each is cut
# in two so that this file passes. The reason is part of the message.
WORDS = [
    (r'\b(TO' r'DO|FIX' r'ME|XX' r'X)\b', 'finish it, or leave it out'),
    (r'\b[\w.-]*debian' r'\.(org|net)\b', "a package source's host name"),
    (r'\b[\w.-]*(npm' r'js\.(org|com)|py' r'pi\.org|pythonhost' r'ed\.org|crates' r'\.io)\b',
     "a package source's host name"),
    (r'\.\./sha' r'red\b', 'a path outside the project'),
    (r'(?<![\w)\]])\.lib' r'rary\b', 'a path outside the project'),
]

# SPDX-License-Identifier: BSD-3-Clause
"""The tree under test, and as much of C's grammar as the checks need."""

import os
import re
import subprocess

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
ATTRIBUTE = re.compile(r'__attribute__\s*\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)')


class Tree:
    """The project's files: those that git tracks or would offer to track."""

    def __init__(self, root):
        self.root = root
        self.texts = {}
        git = subprocess.run(['git', '-C', root, 'ls-files', '-z', '-co', '--exclude-standard'],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if git.returncode == 0 and git.stdout:
            names = git.stdout.decode().split('\0')
            self.files = sorted({n for n in names if n and os.path.isfile(self.path(n))})
        else:
            self.files = sorted(self.walk())

    def walk(self):
        """Without git, as in an unpacked release: all but what is built."""
        for folder, folders, names in os.walk(self.root):
            folders[:] = [d for d in folders if d not in ('build', '.git', '__pycache__')]
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def path(self, name):
        return os.path.join(self.root, name)

    def text(self, name):
        if name not in self.texts:
            with open(self.path(name), encoding='utf-8', errors='replace') as file:
                self.texts[name] = file.read()
        return self.texts[name]

    def select(self, folders, endings):
        """The files under one of the folders that end in one of the endings."""
        return [n for n in self.files
                if n.split('/')[0] in folders and n.endswith(tuple(endings))]


def blank(text, strings=True):
    """The text with comments (and what strings hold) replaced by spaces, so that
    every character that is left keeps its place."""
    def replace(match):
        token = match.group(0)
        if token[0] in '"\'':
            return token if not strings else token[0] + ' ' * (len(token) - 2) + token[0]
        return re.sub(r'[^\n]', ' ', token)
    return TOKEN.sub(replace, text)


def includes(text):
    """(line number, what stands between the quotes, the opening quote) of each include."""
    for number, line in enumerate(blank(text, strings=False).split('\n'), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(2), match.group(1)


def blank_preprocessor(text):
    """The blanked text without its # lines and their continuations."""
    lines, continued = [], False
    for line in text.split('\n'):
        directive = continued or line.lstrip().startswith('#')
        continued = directive and line.endswith('\\')
        lines.append('' if directive else line)
    return '\n'.join(lines)


def function_name(header):
    """The name of the function that this opens, or None if it opens something else."""
    header = ATTRIBUTE.sub(' ', header).strip()
    match = re.search(r'(\w+)\s*\(', header)
    if match and header.endswith(')') and '=' not in header:
        return match.group(1)
    return None


def functions(text):
    """(name, line of the opening brace, lines up to the closing one) of each function.

    In the house style a closing brace in the first column closes a function,
    whatever the preprocessor has made of the braces before it."""
    depth, header, opened = 0, '', None
    for number, line in enumerate(blank_preprocessor(blank(text)).split('\n'), 1):
        if line.startswith('}'):
            if opened:
                yield opened[0], opened[1], number - opened[1] + 1
            depth, header, opened, line = 0, '', None, line[1:]
        for char in line:
            if char == '{':
                if depth == 0 and re.search(r'extern\s+"\s*"\s*$', header):
                    header = ''
                    continue
                if depth == 0 and function_name(header):
                    opened = (function_name(header), number)
                depth += 1
            elif char == '}':
                depth = max(depth - 1, 0)
                if depth == 0:
                    header, opened = '', None
            elif depth == 0:
                header = '' if char == ';' else header + char
        header += '\n'

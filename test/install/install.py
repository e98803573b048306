#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What `make install` lays down works for those who find it there: a person who
starts the program, a management layer that reads its descriptor, and another
project that builds against the library. Installs the default build into a
temporary DESTDIR; OUTBOARD_BUILD and OUTBOARD_SOURCE come from Meson."""

import json
import os
import re
import subprocess
import tempfile
import unittest

BUILD = os.environ['OUTBOARD_BUILD']
SOURCE = os.environ['OUTBOARD_SOURCE']

# An external program that uses the library: a loop is made, and freed.
EXAMPLE = """
#include <outboard/loop.h>
#include <stdio.h>

int main(void)
{
    struct ob_loop_options options = {0};
    struct ob_loop *loop;

    if (ob_loop_new(&options, &loop) < 0)
        return 1;
    ob_loop_free(loop);
    puts("linked");
    return 0;
}
"""


def output(*command, env=None, cwd=None):
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, cwd=cwd)
    if run.returncode != 0:
        raise AssertionError('%s: exit status %d\n%s' % (
            ' '.join(command), run.returncode, run.stdout))
    return run.stdout


def build_options():
    told = json.loads(output('meson', 'introspect', '--buildoptions', BUILD))
    return {option['name']: option['value'] for option in told}


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.root = cls.temporary.name
        output('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', cls.root)
        options = build_options()
        cls.folders = {n: os.path.join(options['prefix'], options[n])
                       for n in ('bindir', 'libdir', 'mandir', 'datadir', 'includedir')}

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def path(self, folder, *names):
        """Where a file is that will be in that folder once the package is unpacked."""
        return os.path.join(self.root, self.folders[folder].lstrip('/'), *names)

    def pkg_config(self, *arguments):
        return output('pkg-config', *arguments, 'outboard', env={
            'PKG_CONFIG_PATH': self.path('libdir', 'pkgconfig'),
            'PKG_CONFIG_SYSROOT_DIR': self.root}).split()

    def test_program_runs(self):
        version, = self.pkg_config('--modversion')
        self.assertIn(version, output(self.path('bindir', 'outboard'), '--version'))

    def test_program_needs_no_library_of_ours(self):
        self.assertNotIn('liboutboard', output('ldd', self.path('bindir', 'outboard')))

    def test_descriptor_names_a_back_end(self):
        with open(self.path('datadir', 'qemu', 'vhost-user', '50-outboard-blk.json'),
                  encoding='utf-8') as file:
            descriptor = json.load(file)
        self.assertEqual(descriptor['type'], 'block')
        self.assertTrue(descriptor['description'])
        self.assertLessEqual(set(descriptor), {'description', 'type', 'binary', 'tags'})
        self.assertTrue(os.path.isabs(descriptor['binary']))
        # Started as it is, without a subcommand.
        told = json.loads(output(self.root + descriptor['binary'], '--print-capabilities'))
        self.assertEqual(told['type'], 'block')

    def test_man_pages_are_there(self):
        pages = [n for n in os.listdir(os.path.join(SOURCE, 'src/cli')) if n.endswith('.1.scd')]
        self.assertTrue(pages)
        for name in pages:
            with open(self.path('mandir', 'man1', name[:-len('.scd')]), encoding='utf-8') as file:
                self.assertIn('.TH', file.read())

    def test_headers_are_all_there(self):
        headers = [n for n in os.listdir(os.path.join(SOURCE, 'include/outboard'))
                   if n.endswith('.h')]
        self.assertEqual(sorted(headers), sorted(os.listdir(self.path('includedir', 'outboard'))))

    def test_example_builds_and_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, 'example.c'), 'w', encoding='utf-8') as file:
                file.write(EXAMPLE)
            flags = self.pkg_config('--cflags', '--libs')
            output(os.environ.get('CC', 'cc'), '-Wall', '-Wextra', '-Werror', '-o', 'example',
                   'example.c', *flags, cwd=folder)
            told = output('./example', cwd=folder, env={'LD_LIBRARY_PATH': self.path('libdir')})
            self.assertEqual(told, 'linked\n')
            self.assertRegex(output('ldd', os.path.join(folder, 'example'),
                                    env={'LD_LIBRARY_PATH': self.path('libdir')}),
                             r'liboutboard\.so\.\d+ => ' + re.escape(self.root))

    def test_block_client_on_a_page(self):
        """doc/examples/read_disk.c, built against what is installed, reads what a disk holds."""
        library = {'LD_LIBRARY_PATH': self.path('libdir')}
        with tempfile.TemporaryDirectory() as folder:
            disk, socket = os.path.join(folder, 'disk.img'), os.path.join(folder, 's')
            with open(disk, 'wb') as file:
                file.write(b'first sector'.ljust(512, b'.') + bytes(65536 - 512))
            output(os.environ.get('CC', 'cc'), '-Wall', '-Wextra', '-o', 'read_disk',
                   os.path.join(SOURCE, 'doc', 'examples', 'read_disk.c'),
                   *self.pkg_config('--cflags', '--libs'), cwd=folder)
            with subprocess.Popen([self.path('bindir', 'outboard'), 'blk', disk, '--read-only',
                                   '--socket-path', socket], stdout=subprocess.PIPE) as served:
                served.stdout.readline()  # it listens
                told = output('./read_disk', 'vhost-user:' + socket, cwd=folder, env=library)
                served.terminate()
            self.assertEqual(told, 'first sector'.ljust(512, '.'))

    def exported(self):
        lines = output('nm', '-D', '--defined-only', self.path('libdir', 'liboutboard.so'))
        return {line.split()[-1] for line in lines.splitlines()}

    def test_only_our_prefix_is_exported(self):
        names = self.exported()
        self.assertTrue(names)
        self.assertEqual([n for n in names if not n.startswith('ob_')], [])

    def test_what_headers_declare_is_exported(self):
        declared = set()
        folder = self.path('includedir', 'outboard')
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding='utf-8') as file:
                code = re.sub(r'/\*.*?\*/', ' ', file.read(), flags=re.S)
            for declaration in re.findall(r'^OB_PUBLIC\s([^;]*);', code, re.M):
                declared.add(re.findall(r'\bob_\w+(?=\s*\(|\s*(?:\[.*)?$)', declaration)[0])
        self.assertEqual(declared - self.exported(), set(), 'declared, but not in the library')
        self.assertEqual(self.exported() - declared, set(), 'in the library, but not declared')


if __name__ == '__main__':
    unittest.main(verbosity=2)

# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user front-end that speaks raw bytes: it sends what a test says, right or wrong.

Written from the protocol's document alone, so that it does not share the misunderstandings of
what it tests. Nothing here retries or repairs; a reply that does not come is an exception.
"""

import mmap
import os
import select
import socket
import struct

VERSION = 1
REPLY = 4
NEED_REPLY = 8

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER = 1, 2, 3, 4
SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD = 5, 6, 7
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES = 15, 16
GET_QUEUE_NUM, SET_VRING_ENABLE = 17, 18
SET_BACKEND_REQ_FD = 21
GET_CONFIG, SET_CONFIG = 24, 25
RESET_DEVICE = 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG = 36, 37, 38
SET_STATUS, GET_STATUS = 39, 40

BACKEND_CONFIG_CHANGE_MSG = 2

F_MQ, F_REPLY_ACK, F_BACKEND_REQ, F_CONFIG = 0, 3, 5, 9
F_RESET_DEVICE, F_CONFIGURE_MEM_SLOTS, F_STATUS = 13, 15, 16

PROTOCOL_FEATURES = 1 << 30
VERSION_1 = 1 << 32
RING_PACKED = 1 << 34
INDIRECT_DESC = 1 << 28
EVENT_IDX = 1 << 29

NO_FD = 0x100  # in the payload of KICK, CALL and ERR

TIMEOUT = 10  # seconds; the machine may be busy, the program never is


class Gone(Exception):
    """The back-end closed the connection."""


class NoAnswer(Exception):
    """Nothing came in time."""


def header(request, size, flags=0, version=VERSION):
    return struct.pack('<III', request, version | flags, size)


def u64(value):
    return struct.pack('<Q', value)


def state(index, num=0):
    return struct.pack('<II', index, num)


def ring_addr(index, desc, used, avail, flags=0, log=0):
    return struct.pack('<IIQQQQ', index, flags, desc, used, avail, log)


def region(guest, size, user, offset):
    return struct.pack('<QQQQ', guest, size, user, offset)


def config(offset, size, flags=0, payload=b''):
    return struct.pack('<III', offset, size, flags) + payload


def eventfd(value=0):
    return os.eventfd(value, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def wait_event(fd, timeout=TIMEOUT):
    """Waits for an eventfd and clears it. False: nothing came."""
    if not select.select([fd], [], [], timeout)[0]:
        return False
    os.eventfd_read(fd)
    return True


class FrontEnd:
    """One connection. The need_reply flag is the caller's to set."""

    def __init__(self, where):
        """where: a path to connect to, or a connected socket."""
        if isinstance(where, socket.socket):
            self.sock = where
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(str(where))
        self.sock.settimeout(TIMEOUT)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_bytes(self, data, fds=()):
        if fds:
            socket.send_fds(self.sock, [data], list(fds))
        else:
            self.sock.sendall(data)

    def send(self, request, payload=b'', fds=(), need_reply=False, flags=0):
        if need_reply:
            flags |= NEED_REPLY
        self.send_bytes(header(request, len(payload), flags) + payload, fds)

    def _read(self, size):
        data = b''
        while len(data) < size:
            try:
                more = self.sock.recv(size - len(data))
            except TimeoutError:
                raise NoAnswer('%d of %d bytes came' % (len(data), size)) from None
            except ConnectionResetError:
                more = b''
            if not more:
                raise Gone()
            data += more
        return data

    def receive(self):
        """One reply: (request, flags, payload)."""
        request, flags, size = struct.unpack('<III', self._read(12))
        return request, flags, self._read(size)

    def reply(self, request):
        """The payload of the reply to a request."""
        got, flags, payload = self.receive()
        assert got == request, 'reply to %d instead of %d' % (got, request)
        assert flags == VERSION | REPLY, 'flags of a reply are 0x%x' % flags
        return payload

    def get(self, request, payload=b''):
        """Sends a request that has a reply of its own; the reply's payload."""
        self.send(request, payload)
        return self.reply(request)

    def get_u64(self, request):
        payload = self.get(request)
        assert len(payload) == 8, 'a u64 of %d bytes' % len(payload)
        return struct.unpack('<Q', payload)[0]

    def acked(self, request, payload=b'', fds=()):
        """Sends with need_reply (REPLY_ACK must be negotiated); the value that came back."""
        self.send(request, payload, fds, need_reply=True)
        answer = self.reply(request)
        assert len(answer) == 8, 'an acknowledgement of %d bytes' % len(answer)
        return struct.unpack('<Q', answer)[0]

    def ok(self, request, payload=b'', fds=()):
        value = self.acked(request, payload, fds)
        assert value == 0, 'message %d was refused with %d' % (request, value)

    def refused(self, request, payload=b'', fds=()):
        value = self.acked(request, payload, fds)
        assert value != 0, 'message %d was accepted' % request

    def gone(self, timeout=TIMEOUT):
        """True once the back-end has closed the connection; what came before is dropped."""
        self.sock.settimeout(timeout)
        try:
            while self.sock.recv(4096):
                pass
            return True
        except (ConnectionResetError, BrokenPipeError):
            return True
        except TimeoutError:
            return False
        finally:
            self.sock.settimeout(TIMEOUT)

    def alive(self):
        """True if the back-end still answers here."""
        try:
            return self.get_u64(GET_FEATURES) != 0
        except (Gone, NoAnswer, BrokenPipeError):
            return False

    def negotiate(self, features=VERSION_1, protocol=None):
        """Accepts features (bit 30 with them) and all protocol features that are offered."""
        offered = self.get_u64(GET_FEATURES)
        assert offered & PROTOCOL_FEATURES
        assert features & ~offered == 0, 'features 0x%x are not offered' % (features & ~offered)
        if protocol is None:
            protocol = self.get_u64(GET_PROTOCOL_FEATURES)
        self.send(SET_PROTOCOL_FEATURES, u64(protocol))
        self.send(SET_OWNER)
        self.send(SET_FEATURES, u64(features | PROTOCOL_FEATURES))

    def read_config(self, offset, size, sent=None):
        """The bytes that GET_CONFIG brings, or None for the reply that says error."""
        payload = b'\0' * size if sent is None else b'\0' * sent
        answer = self.get(GET_CONFIG, config(offset, size, 0, payload))
        if not answer:
            return None
        assert answer[:12] == config(offset, size), 'the reply is for another range'
        return answer[12:]


class Region:
    """A region of guest memory, in a memfd of its own unless one is given."""

    def __init__(self, size, guest, user, offset=0, fd=None, file_size=None):
        self.size, self.guest, self.user, self.offset = size, guest, user, offset
        self.fd = os.memfd_create('guest') if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, offset + size if file_size is None else file_size)
        self.map = mmap.mmap(self.fd, size, offset=offset) if file_size is None else None

    def wire(self):
        return region(self.guest, self.size, self.user, self.offset)

    def slot(self):
        return u64(0) + self.wire()

    def close(self):
        if self.map:
            self.map.close()
        os.close(self.fd)


class Guest:
    """Guest memory: regions, a way to read and write by guest address, and an allocator that
    hands out of the first region."""

    def __init__(self, regions=None):
        self.regions = regions or [Region(16 << 20, 0x100000, 0x7f0000000000)]
        self.next = self.regions[0].guest

    def find(self, addr):
        for r in self.regions:
            if r.guest <= addr < r.guest + r.size:
                return r
        raise KeyError('0x%x' % addr)

    def read(self, addr, size):
        data = b''
        while size:
            r = self.find(addr)
            start = addr - r.guest
            run = min(size, r.size - start)
            data += r.map[start:start + run]
            addr, size = addr + run, size - run
        return data

    def write(self, addr, data):
        while data:
            r = self.find(addr)
            start = addr - r.guest
            run = min(len(data), r.size - start)
            r.map[start:start + run] = data[:run]
            addr, data = addr + run, data[run:]

    def user(self, addr):
        r = self.find(addr)
        return addr - r.guest + r.user

    def alloc(self, size, align=16):
        self.next = (self.next + align - 1) & ~(align - 1)
        addr = self.next
        self.next += size
        assert self.next <= self.regions[0].guest + self.regions[0].size, 'guest memory is full'
        return addr

    def table(self):
        """Payload and descriptors of a SET_MEM_TABLE with all regions."""
        payload = struct.pack('<II', len(self.regions), 0) + b''.join(r.wire() for r in self.regions)
        return payload, [r.fd for r in self.regions]

    def share(self, front_end):
        payload, fds = self.table()
        front_end.ok(SET_MEM_TABLE, payload, fds)

    def close(self):
        for r in self.regions:
            r.close()

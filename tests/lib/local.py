"""The agent's local protocol (proto/local.proto) as far as tests need it for speed.

Each message is u32be length and a Request or Response; only sending is written here, everything
else goes through the command line.
"""
import socket
import struct

SEND = 3        # Request.send
ERROR = 3       # Response.error
MESSAGE = 4     # Response.message


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """A text, bytes or number field; nothing for what proto3 leaves out."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data if data else b""


def fields(data):
    """(number, value) of each field; numbers or bytes."""
    at = 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        tag = read()
        if tag & 7 == 0:
            yield tag >> 3, read()
        else:
            size = read()
            yield tag >> 3, data[at:at + size]
            at += size


class Refused(Exception):
    """The agent's error: its code."""


class Connection:
    """One connection; one request at a time."""

    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)  # blocks while the agent has not accepted those before
        self.socket.settimeout(timeout)
        self.tag = 0

    def close(self):
        self.socket.close()

    def _receive(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the agent has closed the connection")
            data += piece
        return bytes(data)

    def send(self, to, subject, text, case="", message_id="", kind="information"):
        """Commits one message and gives its id."""
        self.tag += 1
        draft = field(1, message_id) + b"".join(field(2, a) for a in to) + field(3, kind) \
            + field(4, subject) + field(5, text) + field(6, "H0") + field(8, "BPL") \
            + field(9, "normal") + field(13, case)
        request = field(1, self.tag) + field(SEND, draft)
        self.socket.sendall(struct.pack(">I", len(request)) + request)
        size, = struct.unpack(">I", self._receive(4))
        answer = dict(fields(self._receive(size)))
        if ERROR in answer:
            raise Refused(dict(fields(answer[ERROR])).get(1, b"").decode())
        return dict(fields(answer[MESSAGE]))[1].decode()

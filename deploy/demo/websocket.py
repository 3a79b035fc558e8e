"""WebSocket frames (RFC 6455), as little as the demo needs: text, ping, pong, close; unfragmented, at most 64 KiB."""

import base64
import hashlib
import os
import struct

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
PAYLOAD_BYTES_MAX = 64 * 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Broken(Exception):
    """The other side does not speak the protocol."""


def new_key():
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key):
    """The answer that proves the server has read the client's key (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def encode(opcode, payload, masked):
    """One whole frame; clients mask, servers do not (section 5.1)."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    flag = 0x80 if masked else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + struct.pack(">H", size)
    else:
        raise ValueError("payload too long")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + _masked(payload, mask)


def _masked(payload, mask):
    whole = (mask * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(payload), "big")


def decode(buffer):
    """Takes one frame off the front of a bytearray. @return (opcode, payload), or None while it is incomplete."""
    if len(buffer) < 2:
        return None
    opcode, size, masked, at = buffer[0] & 0x0F, buffer[1] & 0x7F, bool(buffer[1] & 0x80), 2
    if not buffer[0] & 0x80:
        raise Broken("fragmented frame")
    if size == 127:
        raise Broken("frame too long")
    if size == 126:
        if len(buffer) < 4:
            return None
        size, at = struct.unpack(">H", buffer[2:4])[0], 4
    end = at + (4 if masked else 0) + size
    if len(buffer) < end:
        return None
    payload = bytes(buffer[end - size:end])
    if masked:
        payload = _masked(payload, bytes(buffer[at:at + 4]))
    del buffer[:end]
    return opcode, payload

"""Many datagrams in one system call (sendmmsg), as a busy or hostile peer's machine sends them: faster than Python."""

import ctypes
import socket
from collections.abc import Sequence

_MOST = 1024
_libc = ctypes.CDLL(None, use_errno=True)


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("pieces", ctypes.POINTER(_Piece)),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    _fields_ = (("message", _Message), ("sent", ctypes.c_uint))


class Burst:
    """Datagrams, made ready once, that `send` sends over a connected socket."""

    def __init__(self, datagrams: Sequence[bytes]) -> None:
        self._datagrams = list(datagrams)  # The pieces point into them.
        self._pieces = (_Piece * len(datagrams))(*(_Piece(datagram, len(datagram)) for datagram in self._datagrams))
        self._headers = (_Header * len(datagrams))()
        for header, piece in zip(self._headers, self._pieces, strict=True):
            header.message.pieces, header.message.piece_count = ctypes.pointer(piece), 1

    def send(self, peer: socket.socket) -> int:
        """Send them in order; how many left. The kernel drops what the receiver has no room for."""
        at = 0
        while at < len(self._headers):
            count = min(_MOST, len(self._headers) - at)
            sent = _libc.sendmmsg(peer.fileno(), ctypes.byref(self._headers[at]), count, 0)
            if sent < 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            at += sent
        return at

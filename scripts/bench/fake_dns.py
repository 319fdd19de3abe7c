"""A name server at 127.0.0.1:53 that knows a few names, all of them at 127.0.0.1."""

import socket
import struct
import threading

ADDRESS = 1
# RFC 1035, section 4.1.1: an answer, recursion available.
ANSWER, NO_SUCH_NAME = 0x8180, 0x8183
# Section 4.1.4: the name that stands right behind the header.
THE_SAME_NAME = 0xC00C


class FakeDns:
    """`asked` are the names that somebody wanted the address of."""

    def __init__(self, names):
        self.names = names
        self.asked = set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            request, whom = self.socket.recvfrom(4096)
            self.socket.sendto(self.answer(request), whom)

    def answer(self, request):
        labels, at = [], 12
        while length := request[at]:
            labels.append(request[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name = ".".join(labels).lower()
        question = request[12 : at + 5]
        (wanted,) = struct.unpack_from("!H", request, at + 1)
        records = b""
        if name in self.names and wanted == ADDRESS:
            self.asked.add(name)
            records = struct.pack("!HHHIH", THE_SAME_NAME, ADDRESS, 1, 60, 4)
            records += socket.inet_aton("127.0.0.1")
        code = ANSWER if name in self.names else NO_SUCH_NAME
        header = request[:2] + struct.pack("!HHHHH", code, 1, 1 if records else 0, 0, 0)
        return header + question + records

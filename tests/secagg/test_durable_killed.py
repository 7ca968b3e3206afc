"""secagg.durable: a server in a process of its own, killed again and again, finishes the round."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.party import Message, client_id
from mpc.snapshot import decode
from mpc.tape import SeededTape
from secagg import InsecurePlain, Masking
from secagg.backend import Backend

# Answers each frame on its input with the messages that it has to say and an empty frame; an empty one is a
# deadline. Kills itself, as the system would, at the given call of those that write; a write is half done.
SERVER_PROGRAM = """
import os, signal, sys
from mpc.party import Message
from mpc.snapshot import encode
from mpc.tape import SystemTape
import secagg
from secagg import journal
from secagg.durable import Durable

name, path, fields, link_key, last = sys.argv[1:]
backend, last = getattr(secagg, name)(), int(last)
session, server_key, members, threshold, length = eval(fields)
cohort = secagg.Cohort(session, 3, members, threshold, length, 16, server_key)
key = bytes.fromhex(link_key)

class Deadly:
    calls = 0

    def __getattr__(self, name):
        call = getattr(os, name)
        if name not in ("write", "fsync", "replace", "ftruncate"):
            return call
        self.calls += 1
        if self.calls == last:
            if name == "write":
                return lambda file, data: (os.write(file, data[: len(data) // 2]), os.kill(os.getpid(), 9))
            os.kill(os.getpid(), signal.SIGKILL)
        return call

journal.os = Deadly()

def tell(data=b""):
    sys.stdout.buffer.write(len(data).to_bytes(4, "little") + data)

def answer(messages):
    for message in messages:
        tell(message.encode())
    party.confirm(messages)
    tell()
    sys.stdout.buffer.flush()

party = Durable.open(
    path,
    lambda tape: backend.server(cohort, link_key=key, tape=tape),
    lambda data, tape: backend.load_server(cohort, data, link_key=key, tape=tape),
    tape=SystemTape(),
    forgetful=name == "InsecurePlain",
)
answer(party.start())
while party.result is None:
    size = int.from_bytes(sys.stdin.buffer.read(4), "little")
    frame = sys.stdin.buffer.read(size)
    answer(party.receive(Message.decode(frame)) if frame else party.expire())
tell(encode((party.result.total, party.result.survivors)))
sys.stdout.buffer.flush()
party.remove()
"""


class Dead(Exception):
    """The process has gone, before it answered."""


class Server:
    """The server's process."""

    def __init__(self, arguments: list[str], last: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER_PROGRAM, *arguments, str(last)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )

    def ask(self, frame: bytes) -> None:
        stdin: Any = self.process.stdin
        try:
            stdin.write(len(frame).to_bytes(4, "little") + frame)
            stdin.flush()
        except BrokenPipeError:
            raise Dead from None

    def frame(self) -> bytes:
        stdout: Any = self.process.stdout
        head = stdout.read(4)
        size = int.from_bytes(head, "little")
        data: bytes = stdout.read(size)
        if len(head) < 4 or len(data) < size:
            raise Dead
        return data

    def answer(self) -> list[Message]:
        messages = []
        while frame := self.frame():
            messages.append(Message.decode(frame))
        return messages

    def end(self) -> int:
        self.process.kill()
        self.process.communicate()
        return self.process.returncode


FROM_OUTSIDE = -1  # after a frame was sent to it, at whatever it is doing then
LIVES = {"InsecurePlain": (4, 9, 1, 3, 0), "Masking": (2, 15, FROM_OUTSIDE, 1, 19, 0)}


@pytest.mark.parametrize("make", [InsecurePlain, Masking])
def test_a_killed_server_finishes_the_round(
    make: type[Backend], rig: SimpleNamespace, tmp_path: Path
) -> None:
    backend, path = make(), tmp_path / "server"
    cohort, vectors = rig.cohort(backend, 3, 5, 16), rig.vectors(3, 5, 16)
    clients = {
        client_id(i): backend.client(cohort, f"c{i}", vectors[i], tape=SeededTape(b"%d" % i))
        for i in range(3)
    }
    fields = (cohort.session, cohort.server_key, cohort.members, cohort.threshold, cohort.length)
    arguments = [make.__name__, str(path), repr(fields), rig.link_key.hex()]
    lives = [*LIVES[make.__name__]]
    waiting = deque(message for client in clients.values() for message in client.start())
    while True:
        last = lives.pop(0)
        server = Server(arguments, last)
        try:
            hear(server, clients, waiting)
            while waiting:
                server.ask(waiting[0].encode())
                if last == FROM_OUTSIDE:
                    server.process.kill()
                hear(server, clients, waiting)
                waiting.popleft()
            total, survivors = decode(server.frame())
        except Dead:
            assert server.end() == -9
            continue
        assert server.process.wait() == 0
        server.end()
        break
    assert lives == []
    assert survivors == (0, 1, 2)
    assert total.tolist() == np.sum(vectors, axis=0).tolist()
    assert list(tmp_path.iterdir()) == []


def hear(server: Server, clients: dict[Any, Any], waiting: deque[Message]) -> None:
    """The answer goes to the clients, and what they say to it waits behind the rest."""
    for message in server.answer():
        waiting.extend(clients[message.receiver].receive(message))

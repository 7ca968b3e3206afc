"""The messages by which aggregators compare clients, in the order in which they go (spec section 13.8)."""

from __future__ import annotations

from dataclasses import dataclass

from mpc import field
from mpc.beaver import packed_size
from mpc.errors import DecodeError
from mpc.wire import Reader, Writer
from secagg.sharing.messages import SumRequest
from secagg.sharing.sketch import BINDING_BYTES, TAG_BYTES


@dataclass(frozen=True, slots=True)
class DealRequest:
    """Server to dealer: to how many clients, and to what comparison of them, a triple belongs."""

    binding: bytes
    clients: int

    SIZE = BINDING_BYTES + 4

    def encode(self) -> bytes:
        return Writer().fixed(self.binding, BINDING_BYTES).u32(self.clients).finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> DealRequest:
        reader = Reader(data)
        binding, clients = reader.fixed(BINDING_BYTES), reader.u32()
        reader.finish()
        if not 1 <= clients <= members:
            raise DecodeError(f"a triple for {clients} clients, where there are {members}")
        return cls(binding, clients)


@dataclass(frozen=True, slots=True, eq=False)
class Triangle:
    """A symmetric matrix, packed: from the dealer its correction, or a share of the Gram matrix."""

    elements: field.Elements

    @staticmethod
    def size(clients: int) -> int:
        return field.ELEMENT_BYTES * packed_size(clients)

    def encode(self) -> bytes:
        return field.to_bytes(self.elements)

    @classmethod
    def decode(cls, data: bytes | memoryview, clients: int) -> Triangle:
        if len(data) != cls.size(clients):
            raise DecodeError(f"{len(data)} bytes for {clients} clients, where {cls.size(clients)} were due")
        return cls(field.from_bytes(data))

    def __repr__(self) -> str:
        return f"Triangle(<{self.elements.size} elements>)"


class SketchRequest(SumRequest):
    """Server to aggregator: the clients whose sketches are compared."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class MaskedSketches:
    """Aggregator to server: its shares of all sketches less its share of the triple, shape (k, n), and a tag
    for each other aggregator, in order."""

    elements: field.Elements
    tags: tuple[bytes, ...]

    @staticmethod
    def size(shape: tuple[int, int], aggregators: int) -> int:
        return field.ELEMENT_BYTES * shape[0] * shape[1] + TAG_BYTES * (aggregators - 1)

    def encode(self) -> bytes:
        return b"".join((field.to_bytes(self.elements), *self.tags))

    @classmethod
    def decode(cls, data: bytes | memoryview, shape: tuple[int, int], aggregators: int) -> MaskedSketches:
        reader = Reader(data)
        elements = field.from_bytes(reader.view(field.ELEMENT_BYTES * shape[0] * shape[1]))
        tags = tuple(reader.fixed(TAG_BYTES) for _ in range(aggregators - 1))
        reader.finish()
        return cls(elements.reshape(shape), tags)

    def __repr__(self) -> str:
        return f"MaskedSketches(<{self.elements.size} elements>)"


@dataclass(frozen=True, slots=True, eq=False)
class TaggedSketches:
    """Server to aggregator: the masked sketches of each other one, with its tag for this one, in order."""

    others: tuple[tuple[field.Elements, bytes], ...]

    @staticmethod
    def size(shape: tuple[int, int], aggregators: int) -> int:
        return (aggregators - 1) * MaskedSketches.size(shape, 2)

    def encode(self) -> bytes:
        return b"".join(MaskedSketches(elements, (tag,)).encode() for elements, tag in self.others)

    @classmethod
    def decode(cls, data: bytes | memoryview, shape: tuple[int, int], aggregators: int) -> TaggedSketches:
        reader, each = Reader(data), MaskedSketches.size(shape, 2)
        found = [MaskedSketches.decode(reader.view(each), shape, 2) for _ in range(aggregators - 1)]
        reader.finish()
        return cls(tuple((one.elements, one.tags[0]) for one in found))

    def __repr__(self) -> str:
        return f"TaggedSketches(<of {len(self.others)} aggregators>)"

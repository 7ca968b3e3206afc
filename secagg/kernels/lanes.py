"""Eight 64-bit integers in one register, and the AVX-512 IFMA instructions on them.

IFMA ("integer fused multiply-add") multiplies the low 52 bits of each lane and adds the low or the high half
of the 104-bit product to a 64-bit accumulator. numba has no type for a register: ``lanes`` is one, with the
few operations that multiplication needs. An array of shape (rows, 8) holds one register a row.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, models, register_model

WIDTH = 8
DIGIT_BITS = 52

_WORD = ir.IntType(64)
_REGISTER = ir.VectorType(_WORD, WIDTH)
_ALIGNMENT = 8  # of the words of a numpy array; the processor reads across a cache line at little cost


def available() -> bool:
    """Whether this processor has the instructions, and numba compiles for this processor."""
    here = getattr(config, "CPU_NAME", None) is None  # a name asks for code that runs elsewhere
    return here and bool(binding.get_host_cpu_features().get("avx512ifma"))


class _Lanes(types.Type):
    pass


lanes: Any = _Lanes("lanes")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _REGISTER)  # type: ignore[no-untyped-call]


def _address(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
    fields = context.make_array(kind)(context, builder, array)
    first = builder.gep(fields.data, [builder.mul(row, ir.Constant(_WORD, WIDTH))])
    return builder.bitcast(first, _REGISTER.as_pointer())


def _load(typing_context: Any, rows: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments)
        return builder.load(address, align=_ALIGNMENT)

    return lanes(rows, types.int64), generate


def _store(typing_context: Any, rows: Any, row: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], address, align=_ALIGNMENT)
        return context.get_dummy_value()

    return types.void(rows, types.int64, lanes), generate


def _multiply_add(half: str) -> Any:
    def typed(typing_context: Any, total: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(_REGISTER, [_REGISTER] * 3)
            name = f"llvm.x86.avx512.vpmadd52{half}.uq.512"
            function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
            return builder.call(function, arguments)

        return lanes(lanes, lanes, lanes), generate

    return typed


def _binary(operation: str) -> Any:
    def typed(typing_context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, operation)(*arguments)

        return lanes(lanes, lanes), generate

    return typed


def _spread(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = ir.IntType(32)
        first = builder.insert_element(
            ir.Constant(_REGISTER, ir.Undefined), arguments[0], ir.Constant(place, 0)
        )
        return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(place, WIDTH), [0] * WIDTH))

    return lanes(types.uint64), generate


# What a kernel calls. numba hands the typing context to each: without ``Any``, mypy would ask for it.
load: Any = intrinsic(_load)  # row of an array
store: Any = intrinsic(_store)
madd_low: Any = intrinsic(_multiply_add("l"))  # total + low half of left · right
madd_high: Any = intrinsic(_multiply_add("h"))
add: Any = intrinsic(_binary("add"))
shift_right: Any = intrinsic(_binary("lshr"))
shift_left: Any = intrinsic(_binary("shl"))
both: Any = intrinsic(_binary("and_"))  # bit by bit
either: Any = intrinsic(_binary("or_"))
spread: Any = intrinsic(_spread)  # one word in every lane

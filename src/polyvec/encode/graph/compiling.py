"""What the compiled loops are made with: a decorator, and a hint that memory will be needed soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` that keeps the machine code on disk for the next process, where there is a place to keep it."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written (read-only container)
            return njit(**options)(function)

    return decorate


@intrinsic
def prefetch(typing_context: Any, array: Any, position: Any) -> Any:
    """Ask for the cache line with element `position`, counted from the start of the contiguous `array`.

    A product with random access waits for memory on nearly every edge; asking for the rows of the edges ahead took
    about a third off its time on a graph that does not fit in the cache.
    """
    signature = types.void(array, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        flag = ir.IntType(32)
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, flag, flag, flag])
        hint = builder.module.declare_intrinsic("llvm.prefetch.p0", fnty=kind)
        builder.call(hint, [address, flag(0), flag(3), flag(1)])  # for reading, keep in all caches, data
        return context.get_dummy_value()

    return signature, generate

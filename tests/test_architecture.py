"""The house rules that an import or a call can break (spec section 1)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mpc", "secagg", "fl")
# A package may import itself and those that stand before it.
ABOVE = {"mpc": {"secagg", "fl"}, "secagg": {"fl"}, "fl": set()}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PURE = [path for path in MODULES if path.relative_to(ROOT).parts[0] != "fl"]

# Sockets, clocks, waiting, and generators of random numbers that nobody passed in.
IMPURE = {"socket", "selectors", "asyncio", "http", "urllib", "time", "datetime", "random", "sched", "signal"}
HEAVY = {"torch", "sklearn", "matplotlib", "rich", "typer", "numba"}
# The command's own modules, which fl.cli imports once it has seen that the extra is installed.
COMMAND = ("fl/cli_", "fl/doctor.py", "fl/explain.py")
COPYLEFT = {"phe", "fastecdsa", "petlib"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports_in(node: ast.AST) -> Iterator[str]:
    """Full names of the modules that a node imports, nested ones included."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom):
            assert inner.level == 0, "imports are absolute"
            yield inner.module or ""
            yield from (f"{inner.module}.{alias.name}" for alias in inner.names)


def imports_when_loaded(module: ast.Module) -> Iterator[str]:
    """What importing the module imports: not what its functions do, nor what only type checkers see."""

    def visit(body: list[ast.stmt]) -> Iterator[str]:
        for statement in body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
                yield from visit(statement.orelse)
                continue
            if isinstance(statement, ast.Import | ast.ImportFrom):
                yield from imports_in(statement)
            for block in ("body", "orelse", "finalbody"):
                yield from visit(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from visit(handler.body)

    return visit(module.body)


def top(module: str) -> str:
    return module.split(".", 1)[0]


def attributes_of(module: ast.Module) -> Iterator[str]:
    return (ast.unparse(node) for node in ast.walk(module) if isinstance(node, ast.Attribute))


def calls_of(module: ast.Module) -> Iterator[str]:
    return (ast.unparse(node.func) for node in ast.walk(module) if isinstance(node, ast.Call))


def test_there_is_something_to_look_at() -> None:
    names = {name_of(path) for path in MODULES}
    assert {"mpc/tape.py", "secagg/server.py", "secagg/masking/client.py", "fl/cli.py"} <= names


def offenders(
    paths: list[Path], find: Callable[[Path, ast.Module], Iterable[object]]
) -> dict[str, list[object]]:
    """What ``find`` objects to, by module."""
    found = {name_of(path): sorted(find(path, tree_of(path)), key=str) for path in paths}
    return {name: objections for name, objections in found.items() if objections}


def test_imports_point_one_way() -> None:
    def upwards(path: Path, module: ast.Module) -> set[str]:
        above = ABOVE[path.relative_to(ROOT).parts[0]] | {"tests", "bench"}
        return {top(name) for name in imports_in(module)} & above

    assert offenders(MODULES, upwards) == {}


def test_protocols_neither_wait_nor_talk_nor_roll_dice() -> None:
    def impure(path: Path, module: ast.Module) -> set[str]:
        forbidden = IMPURE if name_of(path) == "mpc/tape.py" else IMPURE | {"secrets"}
        imported = {top(name) for name in imports_in(module)} & forbidden
        attributes = {
            name for name in attributes_of(module) if name.startswith(("np.random", "numpy.random"))
        }
        calls = set(calls_of(module))
        called = calls & {"print", "input", "breakpoint", "open", "eval", "exec"}
        waiting = {call for call in calls if call.endswith((".sleep", ".urandom", ".wait", ".join_thread"))}
        return imported | attributes | called | waiting

    assert offenders(PURE, impure) == {}


def test_keys_come_from_the_tape() -> None:
    """``X25519PrivateKey.generate()`` and ``AESGCM.generate_key()`` draw by themselves."""
    of_libraries = ("Key.generate", "AESGCM.generate_key", "generate_private_key", "Fernet.generate_key")

    def drawing(path: Path, module: ast.Module) -> set[str]:
        found = {call for call in calls_of(module) if call.endswith(of_libraries)}
        return found - {"AggregatorKey.generate", "DealerKey.generate"}

    assert offenders(PURE, drawing) == {}


def test_heavy_libraries_are_imported_by_those_who_run_them() -> None:
    def heavy(path: Path, module: ast.Module) -> set[str]:
        allowed: set[str] = set()
        if path.parent.name == "kernels":
            allowed = {"numba"}
        elif name_of(path).startswith(COMMAND):
            allowed = {"rich", "typer"}
        return ({top(name) for name in imports_when_loaded(module)} & HEAVY) - allowed

    assert offenders(MODULES, heavy) == {}


def test_numba_stays_in_the_kernels() -> None:
    def compiled(path: Path, module: ast.Module) -> set[str]:
        return {top(name) for name in imports_in(module)} & {"numba"}

    assert offenders([path for path in MODULES if path.parent.name != "kernels"], compiled) == {}


def test_nothing_under_the_gpl_is_imported() -> None:
    modules = [path for path in MODULES if name_of(path) != "secagg/paillier/phe.py"]  # of an extra
    assert offenders(modules, lambda path, module: {top(n) for n in imports_in(module)} & COPYLEFT) == {}


def test_every_module_says_what_it_is() -> None:
    def undocumented(path: Path, module: ast.Module) -> list[str]:
        lines = (ast.get_docstring(module) or "").split("\n\n")
        return [] if lines[0].rstrip().endswith((".", ")")) else ["no sentence at the top"]

    assert offenders(MODULES, undocumented) == {}


def test_validation_survives_optimisation() -> None:
    """``python -O`` drops assert statements."""

    def asserting(path: Path, module: ast.Module) -> list[int]:
        return [node.lineno for node in ast.walk(module) if isinstance(node, ast.Assert)]

    assert offenders(MODULES, asserting) == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("package", ["mpc", "secagg", "fl"])
def test_the_core_imports_without_extras_and_stays_light(package: str) -> None:
    program = f"""
import sys
for name in ("torch", "sklearn", "matplotlib", "rich", "typer", "phe"):
    sys.modules[name] = None
import {package}
loaded = [name for name in ("numba", "llvmlite", "torch", "pandas") if sys.modules.get(name)]
sys.exit(", ".join(loaded) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_round_runs_without_torch() -> None:
    program = """
import sys
sys.modules["torch"] = None
import numpy as np
import secagg
for backend in (secagg.InsecurePlain(), secagg.Masking(), secagg.SecretSharing()):
    updates = {"a": [np.ones(3, np.float32)], "b": [np.zeros(3, np.float32)]}
    result = secagg.aggregate(updates, backend=backend)
    assert np.allclose(result.mean[0], 0.5, atol=1e-4), result.mean
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import torch\n", {"torch"}),
        ("def f():\n    import torch\n", set()),
        ("try:\n    import torch\nexcept ImportError:\n    import rich\n", {"torch", "rich"}),
        ("if TYPE_CHECKING:\n    import torch\nelse:\n    import rich\n", {"rich"}),
        ("class C:\n    from torch import nn\n", {"torch", "torch.nn"}),
        ("class C:\n    def f(self):\n        import torch\n", set()),
    ],
)
def test_the_walk_sees_what_loading_imports(code: str, expected: set[str]) -> None:
    assert set(imports_when_loaded(ast.parse(code))) == expected

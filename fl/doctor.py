"""``secagg doctor``: what is installed, whether it computes correctly, and how fast this machine is.

Nothing outside the standard library is imported before its turn, so that what is missing is said rather
than raised; without rich it is said in plain lines.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from fl.cli_plain import print_json, version
from fl.config import INSTALL_DEMO

FORMAT = 1
_IN_LANES = "eight at once, by AVX-512 IFMA"
_ONE_BY_ONE = "one by one, by GMP, since AVX-512 IFMA is not there"
MEASURE_SECONDS = 0.15  # of each primitive: enough for two digits, short enough to wait for

# Name to import → name to install.
CORE = {"numpy": "numpy", "cryptography": "cryptography", "gmpy2": "gmpy2", "numba": "numba"}
DEMO = {
    "torch": "torch",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
    "rich": "rich",
    "typer": "typer",
}


@dataclass(frozen=True, slots=True)
class Package:
    """``version`` is None if it cannot be used; ``remedy`` then says why, or what to do."""

    name: str
    core: bool
    version: str | None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """Whether a backend's sum is the one that it should be; ``detail`` says what went wrong."""

    backend: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Speed:
    primitive: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Self-checks and speeds are empty where something core is missing.

    ``avx512_ifma``: whether Paillier's powers use these instructions; None where something core is missing.
    """

    secagg: str
    python: str
    machine: str
    cores: int
    packages: tuple[Package, ...]
    checks: tuple[SelfCheck, ...]
    speeds: tuple[Speed, ...]
    avx512_ifma: bool | None

    @property
    def healthy(self) -> bool:
        return not _missing(self.packages) and all(check.passed for check in self.checks)


def examine(*, plain: bool = False) -> Diagnosis:
    """Look, check and measure; takes a few seconds, and longer while kernels are compiled the first time.

    Somebody who waits is told so, unless ``plain``: that needs rich.
    """
    packages = (*(_core(*names) for names in CORE.items()), *(_extra(*names) for names in DEMO.items()))
    complete = not _missing(packages)
    with contextlib.nullcontext() if plain else _waiting():
        checks = self_checks() if complete else ()
        speeds = measure_speeds() if complete else ()
    return Diagnosis(
        secagg=version(),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        packages=packages,
        checks=checks,
        speeds=speeds,
        avx512_ifma=_lanes() if complete else None,
    )


def _lanes() -> bool:
    from secagg.kernels import lanes

    return lanes.available()


def self_checks() -> tuple[SelfCheck, ...]:
    """A small sum over every backend, with a dropout, against the sum in plain integers."""
    from secagg import InsecurePlain, Masking, SecretSharing
    from secagg.paillier import Paillier, ThresholdPaillier

    backends = (
        Masking(),
        Paillier(insecure_key_bits=512),  # the arithmetic is that of longer keys, in a moment
        ThresholdPaillier(insecure_key_bits=256),
        SecretSharing(),
        InsecurePlain(),
    )
    return tuple(_self_check(backend) for backend in backends)


def _self_check(backend: Any) -> SelfCheck:
    import numpy as np

    from secagg import FixedPoint, aggregate

    values = np.arange(-6, 6, dtype=np.float64).reshape(4, 3) * 1000
    names = ("ana", "bo", "cy", "dee")
    # A step of exactly 1: the encoded integers are the values themselves, whatever the rounding draws.
    encoding = FixedPoint(clip=2.0**15 - 1, bits=16)
    expected = [*values[:3].sum(axis=0).astype(int).tolist(), 3]
    try:
        result = aggregate(
            dict(zip(names, values, strict=True)), backend=backend, encoding=encoding, drop={"dee": "input"}
        )
    except Exception as error:  # whatever is wrong with this installation is what there is to report
        return SelfCheck(backend.name, False, f"{type(error).__name__}: {error}")
    found = result.encoded_sum.tolist()
    if found != expected:
        return SelfCheck(backend.name, False, f"the sum is {found} and should be {expected}")
    return SelfCheck(backend.name, True)


def measure_speeds() -> tuple[Speed, ...]:
    """Each primitive on one core, after a first call that compiles what has to be compiled."""
    from fl.speeds import Operation, measure

    # Operation → how it is called, and its seconds as a number with a unit.
    shown: dict[Operation, tuple[str, Callable[[float], float], str]] = {
        Operation.BARE_STREAM_BYTE: ("keystream, AES-128-CTR", _billions, "GB/s"),
        Operation.STREAM_BYTE: ("masks added to a vector of 32-bit lanes", _billions, "GB/s"),
        Operation.PACK: ("pack 23 bits", _nanoseconds, "ns a value"),
        Operation.UNPACK: ("unpack 23 bits and add", _nanoseconds, "ns a value"),
        Operation.ENCODE: ("encode floats to 16 bits", _nanoseconds, "ns a value"),
        Operation.PRODUCT: ("Field64 product", _nanoseconds, "ns a value"),
        Operation.AGREEMENT: ("X25519 exchange", lambda seconds: 1 / seconds, "a second"),
        Operation.COMBINE: (
            "Shamir, 67 shares: 32-byte secrets opened",
            lambda seconds: 1 / (67 * seconds),
            "a second",
        ),
        Operation.ENCRYPTION: ("Paillier encryption's power, 3072 bits", _milliseconds, "ms"),
        Operation.DECRYPTION: ("Paillier decryption, 3072 bits", _milliseconds, "ms"),
        Operation.BIG_PRODUCT: ("product modulo n², n of 3072 bits", lambda seconds: 1e6 * seconds, "µs"),
    }
    prices = measure(shown, seconds=MEASURE_SECONDS)
    return tuple(
        Speed(label, convert(prices[operation]), unit) for operation, (label, convert, unit) in shown.items()
    )


def _billions(seconds: float) -> float:
    return 1e-9 / seconds


def _milliseconds(seconds: float) -> float:
    return 1e3 * seconds


def _nanoseconds(seconds: float) -> float:
    return 1e9 * seconds


def _waiting() -> contextlib.AbstractContextManager[object]:
    from rich.console import Console

    return Console(stderr=True).status("checking and measuring")


def show(diagnosis: Diagnosis, *, as_json: bool, plain: bool = False) -> None:
    """As tables, as ``plain`` lines, or as the JSON document (docs/cli.md)."""
    if as_json:
        print_json({"format": FORMAT, "healthy": diagnosis.healthy, **asdict(diagnosis)})
    else:
        about = f"secagg {diagnosis.secagg}, Python {diagnosis.python}, {diagnosis.machine}"
        print(f"{about}, {diagnosis.cores} cores\n")
        (_show_lines if plain else _show_tables)(diagnosis)
        if diagnosis.avx512_ifma is not None:
            print(f"Paillier's powers: {_IN_LANES if diagnosis.avx512_ifma else _ONE_BY_ONE}.")
        print("All is well." if diagnosis.healthy else "Something is wrong: see above.")


def _show_lines(diagnosis: Diagnosis) -> None:
    for package in diagnosis.packages:
        print(f"{package.name}: {package.version or f'missing: {package.remedy}'}")
    for check in diagnosis.checks:
        print(f"sum over {check.backend}: {'right' if check.passed else f'wrong: {check.detail}'}")
    for speed in diagnosis.speeds:
        print(f"{speed.primitive}: {speed.value:,.3g} {speed.unit}")


def _show_tables(diagnosis: Diagnosis) -> None:
    from rich.console import Console
    from rich.text import Text

    from fl.cli_output import add_row, table

    console = Console()
    packages = table("Packages", "package", "for", "version", left=3)
    for package in diagnosis.packages:
        found = package.version or Text("missing", "red")
        add_row(packages, package.name, "core" if package.core else "extra demo", found)
    console.print(packages)
    # In whole lines: a command that a table has broken cannot be copied.
    print("".join(f"{one.name}: {one.remedy}\n" for one in diagnosis.packages if one.remedy))
    if diagnosis.checks:
        checks = table("Sums of 4 clients of whom 1 drops out", "backend", "result", left=2)
        for check in diagnosis.checks:
            result = "right" if check.passed else Text(f"wrong: {check.detail}", "red")
            add_row(checks, check.backend, result)
        console.print(checks)
    if diagnosis.speeds:
        speeds = table("Speed of one core", "primitive", "", "", left=1)
        speeds.columns[0].no_wrap = False
        speeds.columns[2].justify = "left"
        for speed in diagnosis.speeds:
            add_row(speeds, speed.primitive, f"{speed.value:,.3g}", speed.unit)
        console.print(speeds)


def _core(module: str, name: str) -> Package:
    """A package that everything needs: it has to import, not only to be there."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return Package(name, True, None, f"pip install {name}")
    except Exception as error:  # a broken binary may raise anything
        return Package(name, True, None, f"does not load: {error}")
    return Package(name, True, _version(name))


def _extra(module: str, name: str) -> Package:
    """A package of the extra: not imported, since torch alone takes seconds."""
    if importlib.util.find_spec(module) is None:
        return Package(name, False, None, INSTALL_DEMO)
    return Package(name, False, _version(name))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def _missing(packages: tuple[Package, ...]) -> bool:
    return any(package.core and package.version is None for package in packages)

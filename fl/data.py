"""Bundled real data, and how it is spread over clients (spec section 15).

The digits of scikit-learn come with its wheel, so nothing is downloaded. Everything here is a function
of its arguments: a partition draws from the generator that it is given, and :func:`generator` is the one
place where a seed becomes a generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.config import INSTALL_DEMO
from mpc.errors import LocalError

TEST_FRACTION = 0.2
DIGITS_SCALE = 16.0  # the bundled images have 17 grey levels, 0 to 16
# Beyond these the Dirichlet draw is one-hot, or uniform, to within float64.
MIN_ALPHA, MAX_ALPHA = 1e-3, 1e6


class Purpose(IntEnum):
    """What a generator is for. Numbers are never reused; new ones go to the end."""

    SPLIT = 1
    PARTITION = 2
    INITIAL_MODEL = 3
    SAMPLING = 4
    DROPOUTS = 5
    TRAINING = 6
    ATTACKERS = 7
    OFFLINE = 8


def generator(seed: int, purpose: Purpose, *path: int) -> np.random.Generator:
    """The generator of one purpose, and of one ``path`` within it, such as (round, client).

    Different arguments give independent streams. ``LocalError`` unless the seed lies in [0, 2^128) and
    each step of the path in [0, 2^32). Not for secrets: protocols draw from a ``RandomTape``.
    """
    if not 0 <= seed < 2**128:
        raise LocalError("seed", seed, "must lie in [0, 2^128)")
    for position, step in enumerate(path):
        if not 0 <= step < 2**32:
            raise LocalError(f"path[{position}]", step, "must lie in [0, 2^32)")
    # Not default_rng([seed, purpose, *path]): it runs the words of all of them together and pads with
    # zeros, so that ([0, 2], [0, 2, 0]) and ([2^32, 5], [0, 1, 5]) would be pairs of equal streams.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(purpose), *path)))


@contextmanager
def demo_extra() -> Iterator[None]:
    """Around a lazy import: a missing package becomes a ``LocalError`` that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise LocalError(error.name or "package", "not installed", INSTALL_DEMO) from error


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples: ``features`` (n, ...) and ``labels`` (n, ...), arrays of any type.

    Whatever trains on them says which types it takes. ``LocalError`` unless both are arrays, with one
    sample a row.
    """

    features: NDArray[Any]
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        for name in ("features", "labels"):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray):
                raise LocalError(name, type(array).__name__, "must be a NumPy array")
            if array.ndim < 1:
                raise LocalError(name, f"of shape {array.shape}", "must have one sample a row")
        if len(self.labels) != len(self.features):
            bound = f"must be of the {len(self.features)} samples that features has"
            raise LocalError("labels", f"of {len(self.labels)} samples", bound)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Dataset({len(self)} samples)"

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """A copy of the samples at ``indices``, in that order."""
        return Dataset(self.features[indices], self.labels[indices])


def load_digits(seed: int) -> tuple[Dataset, Dataset]:
    """(train, test): 1,797 handwritten digits, features (n, 64) in [0, 1], labels 0 to 9.

    The test fifth is drawn from ``seed``, stratified by label. Needs scikit-learn, or ``LocalError``.
    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998.
    """
    with demo_extra():
        from sklearn import datasets
    features, labels = datasets.load_digits(return_X_y=True)
    whole = Dataset((features / DIGITS_SCALE).astype(np.float32), labels.astype(np.int64))
    return stratified_split(whole, TEST_FRACTION, generator(seed, Purpose.SPLIT))


def stratified_split(
    dataset: Dataset, test_fraction: float, rng: np.random.Generator
) -> tuple[Dataset, Dataset]:
    """(train, test), where every label gives ``test_fraction`` of its samples, rounded, to the test set.

    Both keep the order of ``dataset``. ``LocalError`` unless 0 < test_fraction < 1.
    """
    if not 0 < test_fraction < 1:
        raise LocalError("test_fraction", test_fraction, "must lie strictly between 0 and 1")
    held_out = np.zeros(len(dataset), dtype=bool)
    for members in _indices_by_label(dataset, rng):
        held_out[members[: round(test_fraction * len(members))]] = True
    return dataset.take(np.flatnonzero(~held_out)), dataset.take(np.flatnonzero(held_out))


def partition_iid(dataset: Dataset, clients: int, rng: np.random.Generator) -> list[Dataset]:
    """Deal the shuffled samples out evenly: sizes differ by one at most, each sample goes to one client.

    ``LocalError`` unless 1 ≤ clients ≤ len(dataset).
    """
    _check_room(dataset, clients, 1)
    dealt = np.array_split(rng.permutation(len(dataset)), clients)
    return [dataset.take(np.sort(indices)) for indices in dealt]


def partition_dirichlet(
    dataset: Dataset, clients: int, alpha: float, rng: np.random.Generator, minimum: int = 1
) -> list[Dataset]:
    """Deal the samples out with skewed labels and skewed sizes; each sample goes to one client.

    The smaller ``alpha``, in [1e-3, 1e6], the fewer labels a client has; a large one tends to IID. Every
    client ends up with at least ``minimum`` samples. ``LocalError`` if clients · minimum exceeds the
    samples, or for an argument out of range.

    Source: Hsu, Qi and Brown 2019, arXiv 1909.06335 (label mixtures drawn from a Dirichlet distribution).
    Deviations: they draw a mixture for each client and give all the same size; here each label's samples
    are split in proportions drawn over the clients (Yurochkin et al. 2019, arXiv 1905.12022),
    so that sizes differ and the weights of the average matter; and clients below ``minimum`` take random
    samples from whichever client is then the largest, instead of redrawing, which need not end.
    """
    _check_room(dataset, clients, minimum)
    if not MIN_ALPHA <= alpha <= MAX_ALPHA:
        raise LocalError("alpha", alpha, f"must lie in [{MIN_ALPHA}, {MAX_ALPHA}]")
    owner = np.empty(len(dataset), dtype=np.int64)
    for members in _indices_by_label(dataset, rng):
        shares = rng.dirichlet(np.full(clients, alpha))
        # Rounding the running sum, not the shares, hands out every sample.
        cuts = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for client, part in enumerate(np.split(members, cuts)):
            owner[part] = client
    _fill_up(owner, clients, minimum, rng)
    return [dataset.take(np.flatnonzero(owner == client)) for client in range(clients)]


def _indices_by_label(dataset: Dataset, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """For each label in ascending order, the shuffled indices of its samples."""
    if dataset.labels.ndim != 1:
        raise LocalError("labels", f"of shape {dataset.labels.shape}", "must be one a sample to split by")
    for label in np.unique(dataset.labels):
        yield rng.permutation(np.flatnonzero(dataset.labels == label))


def _fill_up(owner: NDArray[np.int64], clients: int, minimum: int, rng: np.random.Generator) -> None:
    """Move samples, in place, from the largest clients to those that have fewer than ``minimum``.

    It ends: while one client lacks samples, the largest has more than ``minimum``, since there are enough.
    """
    sizes = np.bincount(owner, minlength=clients)
    for client in range(clients):
        while sizes[client] < minimum:
            largest = int(sizes.argmax())
            owner[rng.choice(np.flatnonzero(owner == largest))] = client
            sizes[largest] -= 1
            sizes[client] += 1


def _check_room(dataset: Dataset, clients: int, minimum: int) -> None:
    if clients < 1:
        raise LocalError("clients", clients, "must be at least 1")
    if minimum < 1:
        raise LocalError("minimum", minimum, "must be at least 1: a client without data has nothing to train")
    if clients * minimum > len(dataset):
        bound = f"with at least {minimum} of {len(dataset)} samples each, at most {len(dataset) // minimum}"
        raise LocalError("clients", clients, bound)

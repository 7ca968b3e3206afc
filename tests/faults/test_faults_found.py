"""Faults that have been found in software people use for this, one test each: ours does not have them."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc import shamir
from mpc.errors import DecodeError, LocalError, PeerError
from mpc.party import SERVER, Message, Role, client_id
from mpc.prg import KEY_BYTES
from mpc.ring import Ring, add_masks
from mpc.tape import SeededTape, SystemTape
from secagg import Conditions, FixedPoint, Masking, aggregate
from secagg.backend import Backend
from secagg.masking import keys
from secagg.masking.client import MaskingClient
from secagg.masking.messages import ConsistencyTags, KeyAdvertisement, RelayedTags, SurvivorSet, UnmaskShares

DIGEST = bytes(range(32))


def mask(key: bytes, length: int, bits: int = 16) -> np.ndarray:
    total = np.zeros(length, Ring(bits).lane)
    add_masks(total, [(key, 1)])
    return total


def folded(secret: bytes) -> int:
    return int(np.bitwise_xor.reduce(np.frombuffer(secret, "<u4")))


def advertised(outcome: Any) -> dict[int, KeyAdvertisement]:
    return {
        r.sender.index: KeyAdvertisement.decode(bytes(r.message.payload)[32:])
        for r in outcome.transcript.records
        if r.phase == "advertise-keys"
    }


class TestMasksFromATwisterSeededWith32Bits:
    """Two keys that fold to one seed give one mask; the top value is never drawn (Flower, issue 7522)."""

    def test_two_keys_that_fold_to_the_same_32_bits_give_two_masks(self) -> None:
        secret = bytes(range(32))
        twin = secret[4:8] + secret[:4] + secret[8:]
        assert folded(secret) == folded(twin)
        one, other = (keys.pairwise_mask_key(s, DIGEST, 0, 1) for s in (secret, twin))
        assert len(one) == KEY_BYTES == 16
        equal_lanes = np.count_nonzero(mask(one, 10_000) == mask(other, 10_000))
        assert equal_lanes < 10

    def test_every_bit_of_the_secret_matters(self) -> None:
        secret = bytes(32)
        flipped = [bytes(i // 8) + bytes([1 << i % 8]) + bytes(31 - i // 8) for i in range(256)]
        derived = {keys.pairwise_mask_key(s, DIGEST, 0, 1) for s in (secret, *flipped)}
        assert len(derived) == 257

    @pytest.mark.parametrize("bits", [8, 12, 16])
    def test_every_value_is_drawn_the_top_one_as_often_as_any(self, bits: int) -> None:
        size = 1 << bits
        lanes = mask(bytes(range(16)), 200 * size, bits).astype(np.int64) & (size - 1)
        counts = np.bincount(lanes, minlength=size)
        # Mean 200, standard deviation 14.1: six of them either way.
        assert counts.min() >= 115
        assert counts.max() <= 285
        assert 115 <= counts[-1] <= 285


class AnyThreshold(Masking):
    """Masking that lets itself be told any threshold."""

    def resolve_threshold(self, members: int) -> int:
        return int(self.minimum)


class Credulous(AnyThreshold):
    """And whose clients take the server's word for what the others were shown."""

    def _client(self, *arguments: Any) -> MaskingClient:
        client = super()._client(*arguments)
        client._on_relayed_tags = lambda message: client._reveal()  # type: ignore[method-assign]
        return client


class TestOneClientBothAliveAndDead:
    """A server that lists a client as both gets both shares of it, and opens its vector (Flower)."""

    N, VICTIM = 7, 3

    def opened(self, rig: SimpleNamespace, backend: Masking, alive_to: set[int]) -> set[str]:
        """Which secrets of the victim a server opens that calls it alive to some and dead to the others.

        It relays the tags that clients of either view have for each other.
        """
        threshold = backend.resolve_threshold(self.N)
        cohort = rig.cohort(backend, self.N, 3, 16)
        vectors = rig.vectors(self.N, 3, 16)
        server: Any = backend.server(cohort, link_key=rig.link_key, tape=SeededTape(b"server"))
        clients: dict[Any, Any] = {
            client_id(i): backend.client(cohort, f"c{i}", vectors[i], tape=SeededTape(b"%d" % i))
            for i in range(self.N)
        }

        def ask(index: int, phase: str, payload: bytes) -> Message:
            who = client_id(index)
            request = Message(cohort.session, cohort.round, phase, SERVER, who, payload)
            (answer,) = clients[who].receive(server._links[who].close(request))
            return answer

        waiting = [message for client in clients.values() for message in client.start()]
        while waiting:
            message = waiting.pop(0)
            if message.phase == "consistency" and message.sender == SERVER:
                continue
            if message.receiver in clients:
                waiting += clients[message.receiver].receive(message)
            else:
                waiting += server.receive(message)
        tags: dict[int, dict[int, bytes]] = {}
        told = {}
        for index in range(self.N):
            gone = set() if index in alive_to else {self.VICTIM}
            told[index] = tuple(sorted(set(range(self.N)) - gone))
            answer = ask(index, "consistency", SurvivorSet(told[index]).encode(self.N))
            peers = [peer for peer in told[index] if peer != index]
            found = bytes(ConsistencyTags.decode(answer.payload, len(peers)).tags)
            tags[index] = {peer: found[16 * place :][:16] for place, peer in enumerate(peers)}
        shares: dict[str, dict[int, np.ndarray]] = {"seed": {}, "key": {}}
        for index in range(self.N):
            relayed = {i: tags[i][index] for i in told[index] if i != index and index in tags[i]}
            try:
                answer = ask(index, "unmask", RelayedTags(relayed).encode(range(self.N)))
            except PeerError:
                continue
            revealed = UnmaskShares.decode(answer.payload, range(self.N))
            place = revealed.dealers.index(self.VICTIM)
            shares["seed" if index in alive_to else "key"][index + 1] = revealed.shares[place]
        victim = clients[client_id(self.VICTIM)]._inner
        truth = {"seed": victim._self_seed, "key": victim._mask.private}
        return {kind for kind, found in shares.items() if self.combines_to(found, threshold) == truth[kind]}

    @staticmethod
    def combines_to(found: dict[int, np.ndarray], threshold: int) -> bytes | None:
        points = sorted(found)[:threshold]
        if not points:
            return None
        try:
            return shamir.combine_bytes(points, np.array([found[point] for point in points]), 32)
        except DecodeError:
            return None

    def test_one_set_says_who_is_alive_and_nobody_can_be_both(self) -> None:
        """There is no list of dropouts to contradict the list of survivors."""
        request = SurvivorSet((0, 3, 3, 5))
        assert tuple(SurvivorSet.decode(request.encode(8), 8).survivors) == (0, 3, 5)

    @pytest.mark.parametrize("friends", range(N))
    def test_telling_clients_different_things_never_opens_both(
        self, rig: SimpleNamespace, friends: int
    ) -> None:
        """Nor is either opened for a minority: who was told something else than most keeps its shares."""
        others = [index for index in range(self.N) if index != self.VICTIM]
        alive_to = {self.VICTIM, *others[:friends]}
        expected = {"seed"} if friends >= 3 else set()
        expected |= {"key"} if self.N - 1 - friends >= 4 else set()
        assert len(expected) == 1
        threshold = Masking().resolve_threshold(self.N) - 1
        assert self.opened(rig, AnyThreshold(threshold), alive_to) == expected
        assert self.opened(rig, Credulous(threshold), alive_to) == expected

    def test_with_a_threshold_of_half_it_would(self, rig: SimpleNamespace) -> None:
        """The same server, clients that accept the threshold that ``Masking`` refuses."""
        assert self.opened(rig, AnyThreshold(3), {self.VICTIM, 0, 1}) == {"seed", "key"}

    def test_so_a_threshold_of_half_is_refused(self) -> None:
        for members in range(4, 60):
            assert 2 * Masking().resolve_threshold(members) > members
            with pytest.raises(LocalError, match=f"must be more than half of the {members} clients"):
                Masking(threshold=members // 2).resolve_threshold(members)


def test_dropout_before_the_shares_are_dealt(make: Any, rig: SimpleNamespace) -> None:
    """Crashes the neighbours of the client that went (Flower)."""
    backend = make()
    for phase in backend.client_phases[: backend.client_phases.index(backend.input_phase) + 1]:
        outcome = rig.play(make, rig.vectors(6, 5, 16), drop={2: phase})
        outcome.require_exact()
        assert outcome.survivors == (0, 1, 3, 4, 5)
        assert outcome.transcript.refusals == []


class TestWeightsAndMetricsInClear:
    """They travel beside the "masked" vectors as they are (Flower, FATE)."""

    WEIGHTS = {"ana": 0x1A2B3C4D5E6F, "bo": 0x0F1E2D3C4B5A, "cy": 0x112233445566}  # noqa: RUF012

    def run(self, backend: Backend, weights: dict[str, int], loss: float) -> Any:
        return aggregate(
            {name: np.zeros(4) for name in weights},
            backend=backend,
            weights=weights,
            max_weight=1 << 48,
            metrics={name: {"loss": loss} for name in weights},
            metric_bounds={"loss": 8.0},
            tape=SeededTape(b"t"),
            encoder_tape=SeededTape(b"e"),
            conditions=Conditions(keep_payloads=True),
        )

    def test_no_message_holds_a_weight(self, make: Any) -> None:
        backend = make()
        result = self.run(backend, self.WEIGHTS, 1.25)
        assert result.weight == sum(self.WEIGHTS.values())
        wire = b"".join(record.message.encode() for record in result.transcript.records)
        for weight in self.WEIGHTS.values():
            for form in (weight.to_bytes(6, "little"), weight.to_bytes(6, "big"), str(weight).encode()):
                assert form not in wire

    def test_they_are_coordinates_of_the_vector_and_of_nothing_else(self, make: Any) -> None:
        """Other weights and metrics, same tapes: only the input and what follows from the sum changes."""
        one, other = (self.run(make(), dict.fromkeys(self.WEIGHTS, w), x) for w, x in ((5, 0.5), (9, 4.0)))
        shapes = [[(r.phase, r.sender, r.size) for r in found.transcript.records] for found in (one, other)]
        assert shapes[0] == shapes[1]
        assert one.plan.length == 4 + one.plan.weight_digits + 1 == one.cohort.length


class TestSilentClippingAndOverflow:
    """Cut silently; overflow a warning in a log, or none (Flower, TFF, Fed-BioMed 1210, PySyft)."""

    def test_what_is_cut_is_counted_for_each_client_and_tensor(self, backend: Backend) -> None:
        updates = {"ana": [np.array([2.0, 0.0]), np.ones(1)], "bo": [np.array([-9.0, 9.0]), np.zeros(1)]}
        result = aggregate(updates, backend=backend, encoding=FixedPoint(clip=1.0))
        assert result.clipped == {"ana": (1, 0), "bo": (2, 0)}

    def test_what_could_overflow_is_refused_before_anything_is_sent(self) -> None:
        seen: list[Any] = []
        updates = {f"c{index}": np.zeros(1) for index in range(1 << 16)} | {"last": np.zeros(1)}
        with pytest.raises(LocalError, match=r"bits is 48: the sum over 65537 clients would need 65 bits"):
            aggregate(
                updates,
                backend=Masking(),
                encoding=FixedPoint(bits=48),
                conditions=Conditions(observe=seen.append),
            )
        assert seen == []

    def test_the_fullest_sum_there_is_does_not_wrap(self, backend: Backend) -> None:
        updates = {name: np.full(50, sign) for name, sign in zip("abcd", [1.0] * 4, strict=True)}
        result = aggregate(updates, backend=backend, encoding=FixedPoint(clip=1.0, bits=48))
        assert set(result.encoded_sum[:50].tolist()) <= {4 * (2**47 - 1) - k for k in range(5)}
        assert np.allclose(result.mean, 1.0)


class TestOneScalarMaskForAWholeTensor:
    """A single float added to every coordinate, the same in every round (OpenFL)."""

    def masks(self, rig: SimpleNamespace, round_: int) -> list[np.ndarray]:
        backend = Masking()
        cohort = rig.cohort(backend, 4, 3000, 16, round=round_)
        outcome = rig.play(backend, [np.zeros(3000, np.int64)] * 4, cohort=cohort, keep_payloads=True)
        return [
            cohort.ring.unpack(r.message.payload, 3000)
            for r in outcome.transcript.records
            if r.phase == "masked-input" and r.sender.role is Role.CLIENT
        ]

    def test_every_coordinate_has_a_mask_of_its_own(self, rig: SimpleNamespace) -> None:
        for found in self.masks(rig, 1):
            assert len(np.unique(found)) > 2900
            assert len(np.unique(np.diff(found))) > 2900

    def test_every_round_has_masks_of_its_own(self, rig: SimpleNamespace) -> None:
        """Even from the same tape, as if a client had been set back to an earlier state."""
        for one, other in zip(self.masks(rig, 1), self.masks(rig, 2), strict=True):
            assert np.count_nonzero(one == other) < 5


class TestKeysThatAreNone:
    """The public key is the secret one; keys are seeded with the client's rank (FedML)."""

    def test_the_public_key_is_another_than_the_secret_one(self) -> None:
        for number in range(50):
            pair = keys.KeyPair.generate(SeededTape(b"%d" % number))
            assert pair.public != pair.private
            assert keys.KeyPair.from_private(pair.private).public == pair.public
            assert pair.private not in KeyAdvertisement(pair.public, pair.public).encode()

    def test_a_clients_number_does_not_give_its_keys(self, rig: SimpleNamespace) -> None:
        outcomes = [
            rig.play(Masking(), rig.vectors(5, 3, 16), seed=seed, keep_payloads=True)
            for seed in (b"one", b"two", SystemTape().read(16))
        ]
        public = [
            key
            for outcome in outcomes
            for found in advertised(outcome).values()
            for key in (found.channel_key, found.mask_key)
        ]
        assert len(public) == len(set(public)) == 3 * 5 * 2


class TestOneSecretForAll:
    """All clients derive their masks from one secret that each of them has (APPFL)."""

    def test_each_pair_has_a_secret_of_its_own(self) -> None:
        pairs = [keys.KeyPair.generate(SeededTape(b"%d" % number)) for number in range(8)]
        found = {}
        for (i, one), (j, other) in combinations(enumerate(pairs), 2):
            mine = keys.Agreement(one.private).with_peer(other.public)
            theirs = keys.Agreement(other.private).with_peer(one.public)
            assert mine == theirs
            found[i, j] = keys.pairwise_mask_key(mine, DIGEST, i, j)
            assert found[i, j] == keys.pairwise_mask_key(theirs, DIGEST, j, i)
        assert len(set(found.values())) == 28

    def test_another_client_cannot_derive_it(self) -> None:
        one, other, third = (keys.KeyPair.generate(SeededTape(b"%d" % number)) for number in range(3))
        genuine = keys.pairwise_mask_key(keys.Agreement(one.private).with_peer(other.public), DIGEST, 0, 1)
        for public in (one.public, other.public, third.public):
            secret = keys.Agreement(third.private).with_peer(public)
            assert keys.pairwise_mask_key(secret, DIGEST, 0, 1) != genuine


def test_masks_from_a_generator_for_simulations() -> None:
    """PCG64 (SecretFlow, declearn): its state can be read off its output. Ours is AES in counter mode."""
    key = bytes(range(16))
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(15) + b"\2")).encryptor().update(bytes(40_000))
    for bits, lane in ((16, "<u2"), (32, "<u4"), (64, "<u8")):
        expected = np.frombuffer(stream, lane)
        assert np.array_equal(mask(key, expected.size, bits), expected)


class TestKeyExchangeUsedRaw:
    """The output of X25519, which is no uniform string, as the seed itself (FATE)."""

    def test_keys_are_derived_from_it_for_one_use_and_one_round(self) -> None:
        secret = keys.Agreement(bytes(range(32))).with_peer(keys.KeyPair.generate(SeededTape(b"x")).public)
        derived = [
            keys.pairwise_mask_key(secret, DIGEST, 0, 1),
            keys.pairwise_mask_key(secret, DIGEST, 0, 2),
            keys.pairwise_mask_key(secret, bytes(32), 0, 1),
            keys.self_mask_key(secret, DIGEST, 0),
            keys.seed_commitment(secret, DIGEST, 0)[:16],
        ]
        assert len(set(derived)) == len(derived)
        assert not any(secret[start : start + 16] in derived for start in range(17))

    def test_an_exchange_that_gives_zero_is_refused(self) -> None:
        with pytest.raises(DecodeError, match="small order"):
            keys.Agreement(bytes(range(32))).with_peer(bytes(32))


class TestSetUpReusedOverRounds:
    """Masks of a round follow from those of earlier ones (MicroSecAgg; arXiv 2410.09676)."""

    def test_every_round_has_new_keys(self) -> None:
        session, seen = bytes(16), []
        for round_ in range(3):
            result = aggregate(
                {name: np.zeros(2) for name in "abc"},
                backend=Masking(),
                session=session,
                round=round_,
                conditions=Conditions(keep_payloads=True),
            )
            seen += [
                key for found in advertised(result).values() for key in (found.channel_key, found.mask_key)
            ]
        assert len(seen) == len(set(seen)) == 18

    def test_with_the_same_keys_the_masks_are_others_all_the_same(self) -> None:
        secret = bytes(range(32))
        first, second = (keys.pairwise_mask_key(secret, digest, 0, 1) for digest in (DIGEST, bytes(32)))
        both = mask(first, 50_000), mask(second, 50_000)
        assert np.count_nonzero(both[0] == both[1]) < 10
        ratio = both[0].astype(np.float64) / np.maximum(both[1], 1)
        assert len(np.unique(ratio)) > 49_000


class TestOnePartyStopsAndEverybodyHangs:
    """(CrypTen, issue 374.) Whoever stops, at whatever point: the run ends, with a sum or a reason."""

    def test_whoever_stops_after_whatever_message(self, make: Any, rig: SimpleNamespace) -> None:
        vectors = rig.vectors(5, 4, 16)
        records = rig.play(make, vectors).transcript.records
        senders = dict.fromkeys(record.sender for record in records)
        for sender in senders:
            sent = sum(record.sender == sender for record in records)
            for kept in {0, 1, sent // 2, sent - 1}:
                left = [kept]

                def stop(message: Message, who: Any = sender, left: list[int] = left) -> list[Message]:
                    if message.sender != who:
                        return [message]
                    left[0] -= 1
                    return [message] if left[0] >= 0 else []

                outcome = rig.play(make, vectors, tamper=stop)
                outcome.require_never_wrong()
                if sender.role is Role.CLIENT:
                    outcome.require_exact()
                elif outcome.abort is not None:
                    assert outcome.abort.reason

    def test_the_server_stops(self, make: Any, rig: SimpleNamespace) -> None:
        outcome = rig.play(
            make,
            rig.vectors(5, 4, 16),
            tamper=lambda message: [] if message.receiver == SERVER else [message],
        )
        assert outcome.abort is not None
        assert outcome.abort.reason.startswith("0 of 5 clients")

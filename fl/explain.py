"""``secagg explain``: a backend in a page, from what it declares about itself.

Roles, phases, leakage and bytes are the backend's own data, which its tests hold it to. Only the words
that say what a message holds are written here.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from fl.backends import make_backend
from fl.cli_output import add_row, fitted, quantity, table
from fl.cli_plain import print_json
from fl.config import TrainingConfig
from mpc.cost import LinkCost
from mpc.party import SESSION_BYTES, Role
from secagg.backend import Backend
from secagg.checks import Check, NormBound
from secagg.cohort import KEY_BYTES, Cohort
from secagg.encoding import FixedPoint
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.plain import InsecurePlain

FORMAT = 1
LARGE = 300  # clients; with more, masking's complete graph costs much more than a sparse one

# (backend, phase, sender, receiver) → what the message holds.
CONTENT = {
    ("masking", "advertise-keys", Role.CLIENT, Role.SERVER): "two public keys: for sealing, and for masks",
    ("masking", "share-keys", Role.SERVER, Role.CLIENT): "everybody's public keys",
    ("masking", "share-keys", Role.CLIENT, Role.SERVER): (
        "to each peer, sealed: a share of the self-mask seed and one of the masking key; commitments to them"
    ),
    ("masking", "masked-input", Role.SERVER, Role.CLIENT): "the shares that its peers have sealed to it",
    ("masking", "masked-input", Role.CLIENT, Role.SERVER): "its vector under masks that cancel in the sum",
    ("masking", "consistency", Role.SERVER, Role.CLIENT): "who is in the sum",
    ("masking", "consistency", Role.CLIENT, Role.SERVER): (
        "to each other client in the sum: a tag on the lists of clients that it was shown"
    ),
    ("masking", "unmask", Role.SERVER, Role.CLIENT): "the tags of the others, for it to compare",
    ("masking", "unmask", Role.CLIENT, Role.SERVER): (
        "of each peer one share: of the self-mask seed if it is in the sum, of the masking key if not"
    ),
    ("paillier", "encrypted-input", Role.CLIENT, Role.SERVER): "its vector, packed and encrypted",
    ("paillier", "decrypt", Role.SERVER, Role.KEY_HOLDER): (
        "who is in the sum; the product of their ciphertexts modulo n, in which the sum does not occur"
    ),
    ("paillier", "opened-sum", Role.KEY_HOLDER, Role.SERVER): (
        "the lift of each remainder to modulo n², by which the server opens the sum, and a proof"
    ),
    ("threshold-paillier", "encrypted-input", Role.CLIENT, Role.SERVER): "its vector, packed and encrypted",
    ("threshold-paillier", "decrypt", Role.SERVER, Role.KEY_HOLDER): (
        "who is in the sum; the product of their ciphertexts modulo n, in which the sum does not occur"
    ),
    ("threshold-paillier", "opened-sum", Role.KEY_HOLDER, Role.SERVER): (
        "a partial root of each remainder, by enough of which the server opens the sum, and a proof"
    ),
    ("sharing", "shared-input", Role.CLIENT, Role.SERVER): (
        "one share of its vector for each aggregator, sealed to it; all but one are seeds"
    ),
    ("sharing", "relay-share", Role.SERVER, Role.AGGREGATOR): "what a client has sealed to it",
    ("sharing", "verdict", Role.AGGREGATOR, Role.SERVER): "whether that share is well-formed",
    ("sharing", "decide", Role.SERVER, Role.AGGREGATOR): "whether that client counts",
    ("sharing", "open-sum", Role.SERVER, Role.AGGREGATOR): "who is in the sum",
    ("sharing", "sum-share", Role.AGGREGATOR, Role.SERVER): "the sum of the shares that count",
    ("plain", "plain-input", Role.CLIENT, Role.SERVER): "its vector, in clear",
}
# Where clients prove what the checks claim, in place of that.
PROVED = {
    "shared-input": (
        "one share of its vector and of a proof for each aggregator, sealed to it; all but one are seeds"
    ),
    "relay-share": "what a client has sealed to it; a challenge to the proof",
    "verdict": "whether that share is well-formed; its part of the proof's verification",
    "decide": "whether that client counts; all parts of the verification",
}


def describe(backend: str, *, clients: int, length: int, bits: int, **options: Any) -> dict[str, Any]:
    """The JSON document of ``secagg explain``; ``LocalError`` for a cohort that cannot be.

    ``options``: other fields of ``TrainingConfig`` that the backend is made from.
    """
    config = TrainingConfig(backend=backend, clients=clients, bits=bits, **options)
    made, checks = make_backend(config), _checks(config, length)
    cohort = _cohort(made, clients, length, bits)
    cost = made.cost(cohort, checks)
    upload = cost.sent_by_each(Role.CLIENT, clients)
    unproved = made.cost(cohort).sent_by_each(Role.CLIENT, clients)
    plain = InsecurePlain().cost(cohort).sent_by_each(Role.CLIENT, clients)
    return {
        "format": FORMAT,
        "backend": made.name,
        "cohort": {
            "clients": clients,
            "length": length,
            "bits": bits,
            "sum_bits": cohort.sum_bits,
            "threshold": cohort.threshold,
        },
        "parties": [
            {
                "role": role.title,
                "count": (count := _count(made, role, clients)),
                "learns": list(facts),
                "hidden": role in made.leakage.hides,
                "sent_bytes_each": cost.sent_by_each(role, count),
                "received_bytes_each": cost.received_by_each(role, count),
            }
            for role, facts in made.leakage.learns.items()
        ],
        "messages": [_message(made.name, link, proved=bool(checks)) for link in cost.links],
        "checks": [check.name for check in checks],
        "key_holders": _key_holders(made),
        "assumption": made.leakage.assumption,
        "source": made.leakage.source,
        "rounds": cost.rounds,
        "upload_bytes_per_client": upload,
        "proof_bytes_per_client": upload - unproved,
        "download_bytes_per_client": cost.received_by_each(Role.CLIENT, clients),
        "total_bytes": sum(link.messages * link.size for link in cost.links),
        "upload_expansion": upload / plain,
    }


def show(description: dict[str, Any], *, as_json: bool) -> None:
    """As tables, or as the JSON document itself."""
    if as_json:
        print_json(description)
        return
    console = Console()
    cohort = description["cohort"]
    console.print(
        f"[bold]{description['backend']}[/bold], for {cohort['clients']:,} clients with vectors of "
        f"{cohort['length']:,} entries of {cohort['bits']} bits; at least {cohort['threshold']:,} must "
        f"contribute, and a sum takes {cohort['sum_bits']} bits.{_openers(description)}\n",
        highlight=False,
    )
    width = console.width
    console.print(fitted(_parties(description), width, ["how many"]))
    console.print(fitted(_messages(description), width, ["how many", "to", "size"]))
    console.print(_learns(description))
    assumption = f"Assumption: {description['assumption']}."
    times = "once" if description["rounds"] == 1 else f"{description['rounds']} times"
    cost = (
        f"Cost: a client sends {times}, {_bytes(description['upload_bytes_per_client'])} in all, which is "
        f"{description['upload_expansion']:.2f} times its vector in clear, and receives "
        f"{_bytes(description['download_bytes_per_client'])}. All parties together send "
        f"{_bytes(description['total_bytes'])} in a round."
    )
    source = f"Source: {description['source']}."
    for line in (assumption, cost, *_proof(description), *_sparser(description), source):
        console.print(line + "\n", markup=False, highlight=False)


def _openers(description: dict[str, Any]) -> str:
    holders = description["key_holders"]
    if holders is None or holders["all"] == 1:
        return ""
    return f" Any {holders['needed']} of {holders['all']} key holders open it."


def _proof(description: dict[str, Any]) -> list[str]:
    if not description["checks"]:
        return []
    added, upload = description["proof_bytes_per_client"], description["upload_bytes_per_client"]
    return [
        f"Check: {', '.join(description['checks'])}. Of what a client sends, {_bytes(added)} are the proof: "
        f"{added / (upload - added):.1%} more than without."
    ]


def _sparser(description: dict[str, Any]) -> list[str]:
    """Where to look for what a large cohort costs with masking."""
    cohort = description["cohort"]
    if description["backend"] != "masking" or cohort["clients"] <= LARGE:
        return []
    shape = " ".join(f"--{name} {cohort[name]}" for name in ("clients", "length", "bits"))
    return [
        "That is the complete graph, on which every client works with every other. What a sparse one costs, "
        f"made for large cohorts, is told by\n  secagg plan {shape}"
    ]


def _parties(description: dict[str, Any]) -> Table:
    parties = table("Parties", "role", "how many", "each sends", "each receives")
    for party in description["parties"]:
        sent, received = _bytes(party["sent_bytes_each"]), _bytes(party["received_bytes_each"])
        add_row(parties, party["role"], f"{party['count']:,}", sent, received)
    return parties


def _learns(description: dict[str, Any]) -> Table:
    learns = table("What each party learns", "role", "learns", "a client's vector is", left=3)
    for party in description["parties"]:
        hidden = "hidden from it" if party["hidden"] else "visible to it"
        add_row(learns, party["role"], "; ".join(party["learns"]), hidden)
    return learns


def _messages(description: dict[str, Any]) -> Table:
    messages = table("Messages, in order", "phase", "from", "to", "what", "how many", "size", left=4)
    for message in description["messages"]:
        add_row(
            messages,
            message["phase"],
            message["sender"],
            message["receiver"],
            message["content"],
            f"{message['count']:,}",
            _bytes(message["bytes"]),
        )
    return messages


def _message(backend: str, link: LinkCost, *, proved: bool) -> dict[str, Any]:
    plain = CONTENT[backend, link.phase, link.sender, link.receiver]
    return {
        "phase": link.phase,
        "sender": link.sender.title,
        "receiver": link.receiver.title,
        "content": PROVED.get(link.phase, plain) if proved else plain,
        "count": link.messages,
        "bytes": link.size,
    }


def _checks(config: TrainingConfig, length: int) -> list[Check]:
    """Those of the configuration, for a vector whose last entry is a weight."""
    if config.check == "none":
        return []
    plan = FixedPoint(config.clip, config.bits).plan((length - 1,), clients=config.clients)
    return [NormBound(config.norm_bound, plan)]


def _cohort(backend: Backend, clients: int, length: int, bits: int) -> Cohort:
    """A cohort of that shape. Sizes do not depend on keys, so that none are made."""
    return Cohort(
        session=bytes(SESSION_BYTES),
        round=1,
        members=TrainingConfig(clients=clients).names,
        threshold=backend.resolve_threshold(clients),
        length=length,
        bits=bits,
        server_key=bytes(KEY_BYTES),
    )


def _count(backend: Backend, role: Role, clients: int) -> int:
    if role is Role.CLIENT:
        return clients
    counts = {Role.AGGREGATOR: "aggregators", Role.KEY_HOLDER: "key_holders"}
    return int(getattr(backend, counts[role])) if role in counts else 1


def _key_holders(backend: Backend) -> dict[str, int] | None:
    """How many there are, and how many of them it takes; None if the backend has none."""
    match backend:
        case ThresholdPaillier():
            return {"all": backend.key_holders, "needed": backend.threshold}
        case Paillier():
            return {"all": 1, "needed": 1}
    return None


def _bytes(amount: float) -> str:
    return quantity(amount, "bytes")

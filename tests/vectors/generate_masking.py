"""Writes tests/vectors/masking/*.json from the reference: python -m tests.vectors.generate_masking

What the fields mean is in tests/vectors/masking/README.md. The toolkit has no part in this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from tests.reference.degree import NoDegree, Tolerance, degree_and_threshold
from tests.reference.links import Sender, link_keys
from tests.reference.masking import Client, sealing_key, seed_commitment
from tests.reference.primitives import Tape, leaf_hash, mask, share_bytes, u32, x25519_public
from tests.reference.rounds import Round, Sent
from tests.vectors import negative_clients, negative_server
from tests.vectors.files import FOLDER, Record, render, setting_record
from tests.vectors.settings import SERVER_LINK_KEY, linked_settings, settings

# Of whom all is told; of the others, where there are more, digests.
SHOWN = {"fallback-10": (0,), "sparse-12": (0, 1, 2), "sparse-24": (0,), "sparse-9": (0, 1, 2)}
PARAMETERS = [
    *((n, n, "0", "0", "none") for n in (3, 4, 100)),
    *((n, n, "0", "0", "semi-honest") for n in (3, 4)),
    *((n, n, "0.05", "0.1", "semi-honest") for n in (20, 40, 100, 200, 400)),
    *((n, n, "0", "0", "malicious") for n in (4, 5, 6, 7)),
    *((n, n, "0.05", "0.05", "malicious") for n in (5, 6, 19, 20, 39, 40, 60, 100, 200, 400)),
    *((n, n, "0.1", "0.1", "malicious") for n in (9, 10, 24, 50, 100, 200)),
    # Where the two terms of the failure, and dropouts that take their own share along, make a difference.
    (40, 40, "0", "0.2", "none"),
    (65, 65, "0", "0.1", "none"),
    (160, 160, "0.05", "0.1", "semi-honest"),
    *((n, n, "0.05", "0.1", "malicious") for n in (215, 245)),
    (1000, 1000, "0.01", "0.05", "malicious"),
    *((100, listed, "0.05", "0.05", "malicious") for listed in (99, 80, 67, 20, 14, 10, 5)),
    (100, 100, "0.29", "0", "semi-honest"),
    (10, 10, "0.3", "0.3", "malicious"),
    (10, 8, "0.3", "0.3", "malicious"),
]


def round_record(comment: str, found: Round, shown: Collection[int]) -> Record:
    """A round that opens its sum: what it follows from, all messages, what was computed on the way."""
    server = found.server
    record: Record = {"comment": comment, **setting_record(found.setting)}
    record["listing"] = listing_record(found)
    record["dealing"] = {"dealers": server.dealers, "digest": server.dealing.hex()}
    record["survivors"] = server.survivors
    record["messages"] = [message_record(sent, shown) for sent in found.messages]
    record["intermediate"] = [client_record(found, found.clients[me]) for me in shown]
    record["opened"] = [
        {
            "dealer": dealer,
            "secret": secret.hex(),
            "masks": [
                {"of": i, "key": key.hex(), "sign": sign} for d, i, key, sign in server.removed if d == dealer
            ],
        }
        for dealer, secret in server.opened.items()
    ]
    record["sum"] = found.total
    return record


def listing_record(found: Round) -> Record:
    server, listing = found.server, found.server.listing
    return {
        "listed": listing.listed,
        "leaf_hashes": [leaf_hash(u32(i) + server.advertisements[i]).hex() for i in listing.listed],
        "root": listing.root.hex(),
        "degree": listing.degree,
        "threshold": listing.threshold,
        "digest": listing.digest.hex(),
        "circle": None if listing.complete else listing.circle,
    }


def message_record(sent: Sent, shown: Collection[int]) -> Record:
    ends = [f"client {sent.client}", "server"]
    record: Record = {"phase": sent.phase}
    record["from"], record["to"] = ends if sent.to_server else reversed(ends)
    if sent.client in shown:
        return record | {"payload": sent.payload.hex()}
    digest = hashlib.sha256(sent.payload).hexdigest()
    return record | {"payload_bytes": len(sent.payload), "payload_sha256": digest}


def client_record(found: Round, client: Client) -> Record:
    """As far as this client came; a client that was never listed has its keys only."""
    record: Record = {
        "index": client.me,
        "c_private": client.channel.hex(),
        "s_private": client.masking.hex(),
    }
    record["b"] = client.seed.hex()
    record |= {
        "c_public": x25519_public(client.channel).hex(),
        "s_public": x25519_public(client.masking).hex(),
    }
    if client.due == 0:
        return record
    listing = client.listing
    record["holders"] = listing.holders(client.me)
    record["seed_commitment"] = seed_commitment(listing.digest, client.me, client.seed).hex()
    record["coefficients"] = share_bytes([word for row in client.polynomials[1:] for word in row]).hex()
    record["own_shares"] = [share.hex() for share in client.dealt[client.me]]
    record["peers"] = [peer_record(client, j) for j in listing.neighbours(client.me)]
    if client.due > 1:
        record["self_mask"] = mask_record(client, client.me)
        record["masked"] = client.masked
    return record


def peer_record(client: Client, peer: int) -> Record:
    shared = client.shared_channel[peer]
    record: Record = {"index": peer, "c_shared": shared.hex(), "s_shared": client.shared_masking[peer].hex()}
    record["sealing_key"] = sealing_key(client.listing.digest, client.me, peer, shared).hex()
    record["shares"] = [share.hex() for share in client.dealt[peer]]
    if client.due > 1 and peer in client.mask_keys:
        record["mask"] = mask_record(client, peer)
    if client.due > 2 and peer in client.tags:
        record["tag"] = client.tags[peer].hex()
    return record


def mask_record(client: Client, of: int) -> Record:
    key, cohort = client.mask_keys[of], client.cohort
    return {
        "key": key.hex(),
        "sign": 1 if of >= client.me else -1,
        "values": mask(key, cohort.length, cohort.sum_bits),
    }


def link_record(comment: str, found: Round, limit: int) -> Record:
    """The same round as whole messages, with headers and link tags."""
    cohort = found.setting.cohort
    record: Record = {"comment": comment, **setting_record(found.setting)}
    record["max_message_bytes"] = limit
    record["server_link_private"] = SERVER_LINK_KEY.hex()
    record["links"], from_server, tape = [], {}, Tape(b"salts of the server")
    for me, end in enumerate(found.ends):
        salt, own = tape.read(8), x25519_public(end.private)
        from_server[me] = Sender(link_keys(cohort, me, SERVER_LINK_KEY, own)[1], salt)
        link = {"index": me, "client_private": end.private.hex(), "client_salt": end.salt.hex()}
        link |= {"server_salt": salt.hex(), "greeting": end.greeting.hex()}
        link |= {"key_to_server": end.to_server.hex(), "key_to_client": end.to_client.hex()}
        record["links"].append(link)
    record["messages"] = []
    for sent in found.messages:
        sender = found.ends[sent.client].sender if sent.to_server else from_server[sent.client]
        wholes = sender.close(cohort, sent.phase, sent.client, sent.to_server, sent.payload, limit)
        ends = {name: message_record(sent, ())[name] for name in ("phase", "from", "to")}
        record["messages"] += [ends | {"message": whole.hex()} for whole in wholes]
    record["sum"] = found.total
    return record


def parameters_record() -> Record:
    rows = []
    for members, listed, corrupt, dropout, adversary in PARAMETERS:
        row: Record = {"members": members, "listed": listed}
        row |= {"corrupt": corrupt, "dropout": dropout, "adversary": adversary}
        try:
            k, t = degree_and_threshold(Tolerance(corrupt, dropout, adversary), members, 0, listed)
        except NoDegree:
            k, t = 0, 0
        row["graph"] = "none" if k == 0 else "complete" if t == 0 else "sparse"
        rows.append(row | ({"degree": k, "threshold": t} if row["graph"] == "sparse" else {}))
    return {"comment": "Degree and threshold (spec section 12.7).", "parameters": rows}


def build() -> dict[str, str]:
    """File name → content."""
    rounds = {name: (comment, Round(found)) for name, (comment, found) in settings().items()}
    records: dict[str, Record] = {}
    for name, (comment, found) in rounds.items():
        records[name] = round_record(comment, found, SHOWN.get(name, found.setting.cohort.everybody))
    for name, (comment, setting, limit) in linked_settings().items():
        records[name] = link_record(comment, Round(setting), limit)
    records["parameters"] = parameters_record()
    played = {name: found for name, (_, found) in rounds.items()}
    records["negative"] = {
        "comment": "Messages that must not be answered, and lies that must not change the sum.",
        "to_clients": negative_clients.cases(played),
        "to_server": negative_server.cases(played),
    }
    return {f"{name}.json": render(record) + "\n" for name, record in records.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, content in build().items():
        (FOLDER / file).write_text(content, "utf-8")

"""The vector files: how they are written, and the rounds in them (tests/vectors/masking/README.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.reference.cohort import Cohort
from tests.reference.degree import Tolerance
from tests.reference.rounds import Setting

LINE = 180
FOLDER = Path(__file__).parent / "masking"
Record = dict[str, Any]


def load(name: str) -> Record:
    found: Record = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return found


def names(prefix: str = "") -> list[str]:
    return sorted(path.stem for path in FOLDER.glob(f"{prefix}*.json"))


def render(value: Any, margin: str = "") -> str:
    """JSON with what is short on one line, so that a change of the files reads well."""
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(short) + len(margin) <= LINE:
        return short
    if isinstance(value, list) and not any(isinstance(entry, dict | list) for entry in value):
        return short
    inner = margin + " "
    if isinstance(value, dict):
        body = [f"{inner}{json.dumps(key)}: {render(entry, inner)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(body) + f"\n{margin}}}"
    return "[\n" + ",\n".join(inner + render(entry, inner) for entry in value) + f"\n{margin}]"


def cohort_record(cohort: Cohort) -> Record:
    return {
        "session": cohort.session.hex(),
        "round": cohort.round,
        "members": list(cohort.members),
        "threshold": cohort.threshold,
        "length": cohort.length,
        "bits": cohort.bits,
        "server_key": cohort.server_key.hex(),
        "model_hash": cohort.model_hash.hex(),
        "identities": [identity.hex() for identity in cohort.identities],
    }


def setting_record(setting: Setting) -> Record:
    """What a round follows from. ``setting_of`` reads it back."""
    tolerance, clients = setting.tolerance, []
    for me, name in enumerate(setting.cohort.members):
        client: Record = {"index": me, "name": name, "tape_seed": setting.seeds[me].hex()}
        if setting.identities:
            client["identity_secret"] = setting.identities[me].hex()
        client |= {"silent_from": setting.silent.get(me), "vector": list(setting.vectors[me])}
        clients.append(client)
    return {
        "cohort": cohort_record(setting.cohort),
        "tolerance": None if tolerance is None else vars(tolerance),
        "clients": clients,
    }


def setting_of(record: Record) -> Setting:
    fields = dict(record["cohort"])
    for name in ("session", "server_key", "model_hash"):
        fields[name] = bytes.fromhex(fields[name])
    fields["members"] = tuple(fields["members"])
    fields["identities"] = tuple(map(bytes.fromhex, fields["identities"]))
    clients = record["clients"]
    return Setting(
        cohort=Cohort(**fields),
        tolerance=Tolerance(**record["tolerance"]) if record["tolerance"] else None,
        seeds=[bytes.fromhex(client["tape_seed"]) for client in clients],
        vectors=[client["vector"] for client in clients],
        identities=[
            bytes.fromhex(client["identity_secret"]) for client in clients if "identity_secret" in client
        ],
        silent={client["index"]: client["silent_from"] for client in clients if client["silent_from"]},
        linked="links" in record,
    )

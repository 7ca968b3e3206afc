"""What docs/deploy.md shows runs, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secagg import Cohort, LocalError, Masking, SystemTape

PAGE = (Path(__file__).parents[1] / "docs" / "deploy.md").read_text()


def test_the_script_gives_the_mean_of_those_who_stayed() -> None:
    names: dict[str, Any] = {}
    script = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(compile(script, "deploy.md", "exec"), names)
    assert names["cohort"].names(names["found"].survivors) == ("ana", "bo", "dee")
    assert np.allclose(names["mean"], (0.0 + 0.1 + 0.3) / 3, atol=1e-3)
    assert names["parties"][names["SERVER"]].result is names["found"]
    assert not (names["folder"] / "server.round").exists()


def test_a_link_key_that_is_no_bytes_is_refused_and_not_shown() -> None:
    cohort = Cohort(bytes(16), 0, ("ana", "bo"), 2, 4, 16, bytes(32))
    with pytest.raises(LocalError, match="link_key is 'str': must be bytes"):
        Masking().server(cohort, link_key="secret", tape=SystemTape())  # type: ignore[arg-type]


def test_no_party_is_made_without_a_tape() -> None:
    key = bytes(range(32))
    public = X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
    cohort, vector = Cohort(bytes(16), 0, ("ana", "bo"), 2, 4, 16, public), np.zeros(4, np.int64)
    with pytest.raises(LocalError, match="tape is None: must be a RandomTape"):
        Masking().server(cohort, link_key=key, tape=None)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="tape is None: must be a RandomTape"):
        Masking().client(cohort, "ana", vector, tape=None)  # type: ignore[arg-type]

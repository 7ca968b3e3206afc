"""Masking: a client against the bare keystream-and-add loop, and a whole server (spec section 12.5).

Run: ``pytest bench/bench_masking.py``. The ratios are printed by ``bench/conftest.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc.party import SERVER, Message, PartyId, client_id
from mpc.ring import Ring
from mpc.tape import SeededTape
from secagg import Cohort, Masking
from secagg.aggregate import run_round
from secagg.masking.client import MaskingClient
from secagg.masking.keys import KeyPair
from secagg.masking.messages import INPUT, SHARE, KeyAdvertisement, KeyList, RelayedShares

"""Secret sharing: each aggregator adds up random-looking shares, and only all their sums give the sum."""

from secagg.sharing.backend import SecretSharing
from secagg.sharing.dealer import DealerKey
from secagg.sharing.keys import AggregatorKey, AggregatorPublicKey

__all__ = ["AggregatorKey", "AggregatorPublicKey", "DealerKey", "SecretSharing"]

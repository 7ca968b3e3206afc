"""Federated learning on top of ``secagg``: data, models, local training, the round and its checkpoints."""

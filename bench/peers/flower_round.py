"""A round of SecAgg+ by Flower's own workflow and mod, without links (Bell et al. 2020, eprint 2020/704).

The classes here only carry messages and hand over updates; keys, shares, masks and sums are Flower's code.
"""

from __future__ import annotations

import copy
import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common.recorddict_compat import fitres_to_recorddict
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import WorkflowState
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from bench.peers.case import BITS, CLIP, MAX_WEIGHT, Case

logging.getLogger("flwr").setLevel(logging.CRITICAL)
Task = tuple[Message, Context]  # what the mod is called with


class Proxy:
    """Of a client the workflow asks for the node id alone."""

    def __init__(self, node_id: int) -> None:
        self.node_id = node_id


class Everybody:
    """Client manager and strategy in one: every client takes part, and the mean is kept as it comes."""

    def __init__(self, clients: int) -> None:
        self.proxies = [Proxy(index + 1) for index in range(clients)]
        self.mean: NDArray[np.float64] | None = None

    def num_available(self) -> int:
        return len(self.proxies)

    def configure_fit(self, *_: Any) -> list[tuple[Proxy, FitIns]]:
        return [(proxy, FitIns(Parameters([], "numpy.ndarray"), {})) for proxy in self.proxies]

    def aggregate_fit(self, _: int, results: list[tuple[Any, FitRes]], __: Any) -> tuple[None, Any]:
        (self.mean,) = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}


class Canned:
    """A grid that keeps what it is asked, and answers what it was given."""

    def __init__(self, replies: list[Message]) -> None:
        self.requests: list[Message] = []
        self.replies = replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        self.requests.extend(messages)
        return self.replies


class FlowerRound:
    """A round taken to where the server unmasks. It is the workflow's grid itself: node = index + 1.

    ``tasks``: for each stage the message and the state of the last client, before it answered;
    ``replies``: its answers. ``server_seconds``: CPU time of the workflow's stages, clients not counted.
    """

    def __init__(self, case: Case) -> None:
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        self.case = case
        self.tasks: dict[str, Task] = {}
        self.replies: dict[str, Message] = {}
        self.server_seconds: dict[str, float] = {}
        self._clients_seconds: defaultdict[str, float] = defaultdict(float)
        self._contexts = [Context(1, index + 1, {}, RecordDict(), {}) for index in range(case.clients)]
        self._everybody = Everybody(case.clients)
        self._workflow = SecAggPlusWorkflow(
            case.clients,
            case.threshold,
            max_weight=float(MAX_WEIGHT),
            clipping_range=CLIP,
            quantization_range=1 << BITS,
        )
        self._context = self._make_context()
        self._state = WorkflowState()
        self._run_stage(Stage.SETUP, self._workflow.setup_stage)
        self._run_stage(Stage.SHARE_KEYS, self._workflow.share_keys_stage)
        self._run_stage(Stage.COLLECT_MASKED_VECTORS, self._workflow.collect_masked_vectors_stage)
        self._shares = self._collect_unmask_replies()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [reply for message in messages if (reply := self._deliver(message)) is not None]

    def _deliver(self, message: Message) -> Message | None:
        index = message.metadata.dst_node_id - 1
        stage = str(message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE])
        if stage == Stage.COLLECT_MASKED_VECTORS and index < self.case.dropped:
            return None
        # The workflow hands one record to many clients, and the mod takes the stage out of it.
        task = copy.deepcopy(message), self._contexts[index]
        if index == self.case.clients - 1:
            self.tasks[stage] = copy.deepcopy(task)
        began = time.process_time()
        reply = self.answer(*task)
        self._clients_seconds[stage] += time.process_time() - began
        self.replies[stage] = reply
        return reply

    def answer(self, message: Message, context: Context) -> Message:
        """What the client does in one stage."""
        return secaggplus_mod(message, context, self._train)

    def task(self, stage: str) -> Task:
        """The last client and its message, as they were before this stage."""
        return copy.deepcopy(self.tasks[stage])

    def _train(self, message: Message, context: Context) -> Message:
        index = context.node_id - 1
        parameters = ndarrays_to_parameters([self.case.updates[index]])
        result = FitRes(Status(Code.OK, ""), parameters, self.case.weights[index], {})
        return Message(fitres_to_recorddict(result, False), reply_to=message)

    def _make_context(self) -> LegacyContext:
        everybody: Any = self._everybody
        inner = Context(1, 1, {}, RecordDict(), {})
        context = LegacyContext(inner, strategy=everybody, client_manager=everybody)
        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
        context.state.array_records[MAIN_PARAMS_RECORD] = ArrayRecord()
        return context

    def _run_stage(self, stage: str, run: Any) -> None:
        began = time.process_time()
        assert run(self, self._context, self._state)
        self.server_seconds[stage] = time.process_time() - began - self._clients_seconds[stage]

    def _collect_unmask_replies(self) -> list[Message]:
        """A copy of the server asks for shares, which the clients answer; there it stops."""
        grid: Any = Canned([])
        assert not self._workflow.unmask_stage(grid, self._context, self.state())
        return self.send_and_receive(grid.requests)

    def state(self) -> WorkflowState:
        """The server's state before it unmasks."""
        return copy.deepcopy(self._state)

    def unmask(self, state: WorkflowState) -> NDArray[np.float64]:
        """Reconstruction, unmasking, decoding: from the clients' shares to the weighted mean."""
        grid: Any = Canned(self._shares)
        assert self._workflow.unmask_stage(grid, self._context, state)
        assert self._everybody.mean is not None
        return self._everybody.mean

    def upload(self, stage: str) -> int:
        """Bytes that a client sends in a stage: its strings alone, without ids, names and framing."""
        values = self.replies[stage].content.config_records[RECORD_KEY_CONFIGS].values()
        lists = [value if isinstance(value, list) else [value] for value in values]
        return sum(len(item) for items in lists for item in items if isinstance(item, bytes))

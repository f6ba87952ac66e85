"""Many hosts: Ray Data divides the entries among actors. The only module that uses Ray (`pip install 'jnst[ray]'`).

Each actor loads the weights once and keeps its compiled programs. Actors write the pictures; this process keeps the
manifest. An actor that dies is replaced by Ray, which gives its entries to another; pictures that it had finished are
recognised by what they carry inside and are not made again.
"""

import os
import pickle
from collections.abc import Callable, Sequence
from typing import Any

from jnst.batch.options import Options
from jnst.batch.pipeline import Deliver, Pipeline
from jnst.batch.records import recover
from jnst.batch.worklist import Entry
from jnst.errors import ConfigError
from jnst.weights.network import Weights

_ENTRIES_AT_ONCE = 32


class RayActor:
    """One worker: called by Ray Data with a batch of pickled entries, answers with their records."""

    def __init__(self, weights: Any, options: Options, folder: str) -> None:
        import ray  # pyright: ignore[reportMissingImports]

        from jnst.runtime import configure_jax

        # Paths on the command line are relative to where it was typed.
        os.chdir(folder)
        configure_jax()
        self.pipeline = Pipeline(ray.get(weights), options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        records, todo = [], []
        for data in batch["entry"]:
            entry = pickle.loads(data)
            found = (
                None
                if self.pipeline.options.overwrite
                else recover(entry, self.pipeline.options.output, self.pipeline.sha256)
            )
            if found is None:
                todo.append(entry)
            else:
                records.append(found | {"recovered": True})
        self.pipeline.work(todo, records.append)
        return {"record": [pickle.dumps(record | {"worker": os.getpid()}) for record in records]}


def ray_engine(
    weights: Weights, options: Options, *, actors: tuple[int, int] = (1, 1)
) -> Callable[[Sequence[Entry], Deliver, Callable[[Any], Any] | None], None]:
    """An engine for `run_folder` that has the work done by Ray actors.

    Joins the cluster that RAY_ADDRESS names, else starts one on this machine. Where the cluster has GPUs, each actor
    takes one; else each takes one core or more, as Ray sees fit.

    Args:
        weights: sent to the cluster once.
        options: as for a `Pipeline`; paths must mean the same on every machine.
        actors: least and most; between them Ray scales by the work that waits.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray: pip install 'jnst[ray]'") from error

    def work(entries: Sequence[Entry], deliver: Deliver, callback: Callable[[Any], Any] | None) -> None:
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level="warning")
        ray.data.DataContext.get_current().enable_progress_bars = False
        at_once = min(_ENTRIES_AT_ONCE, options.batch_size or _ENTRIES_AT_ONCE)
        rows = [{"entry": pickle.dumps(entry)} for entry in entries]
        dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // at_once)).map_batches(
            RayActor,
            fn_constructor_args=(ray.put(weights), options, os.getcwd()),
            batch_size=at_once,
            compute=ray.data.ActorPoolStrategy(min_size=actors[0], max_size=actors[1]),
            num_gpus=1 if ray.cluster_resources().get("GPU") else None,
        )
        for row in dataset.iter_rows():
            deliver(pickle.loads(row["record"]))
            if callback is not None:
                callback(None)

    return work

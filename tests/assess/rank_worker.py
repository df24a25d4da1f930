"""One process of the distributed test of `RankMe`; in a module of its own, so that the children import little."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from polyvec.assess.streaming import RankMe
from polyvec.core.errors import InvalidValueError


def rows(count: int = 90, dim: int = 7, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(count, dim)) * draw.uniform(0.1, 2, dim) + draw.normal(size=dim)


def run(rank: int, size: int, port: int, folder: str) -> None:
    """Take a share of the rows, compute the common score, write what was found to `<folder>/<rank>.json`."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    try:
        matrix = rows()
        found: dict[str, object] = {}
        for center in (False, True):
            metric = RankMe(7, center=center)
            share = matrix[:61] if rank == 0 else matrix[61:]
            for batch in torch.from_numpy(share).split(10):
                metric.update(batch)
            found[f"{center}"] = [metric.compute(), metric.compute(), metric.count]
            found[f"{center} report"] = metric.report()
        alone = RankMe(7, sync=False)
        alone.update(matrix[:20] * (rank + 1))
        found["alone"] = alone.compute()
        one_sided = RankMe(7)
        if rank == 1:
            one_sided.update(matrix)
        found["one-sided"] = [one_sided.compute(), one_sided.count]
        try:
            RankMe(7).compute()
        except InvalidValueError as error:
            found["empty"] = str(error)
        Path(folder, f"{rank}.json").write_text(json.dumps(found))
    finally:
        dist.destroy_process_group()

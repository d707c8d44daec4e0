"""TrackEval's own evaluation of KITTI MOTS files, as its script run_kitti_mots.py does; its wheel lacks that script.

    python benchmarks/evaluation/trackeval_command.py GT_FOLDER TRACKERS_FOLDER SEQMAP RESULT_JSON

All of TrackEval's defaults: every metric, one process, summary and detailed files, curves. RESULT_JSON receives the raw
fields, which the command itself only prints rounded.
"""

import json
import sys
from typing import Any

import numpy as np
import trackeval

gt_folder, trackers_folder, seqmap, result_path = sys.argv[1:]
evaluator = trackeval.Evaluator({"LOG_ON_ERROR": None})
dataset = trackeval.datasets.KittiMOTS(
    {
        "GT_FOLDER": gt_folder,
        "TRACKERS_FOLDER": trackers_folder,
        "SEQMAP_FILE": seqmap,
        "GT_LOC_FORMAT": "{gt_folder}/{seq}.txt",
    }
)
metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(), trackeval.metrics.Identity()]
results, _ = evaluator.evaluate([dataset], metrics)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return np.asarray(value).tolist()


with open(result_path, "w") as file:
    json.dump(plain(results["KittiMOTS"]["result"]), file)

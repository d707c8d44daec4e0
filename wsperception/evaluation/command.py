"""`wsperception eval`: files in, scores.json, report.html and a table out; MOTS here, panoptic labels beside it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsperception.data.mots import CLASS_NUMBERS, IGNORE_CLASS, MotsSequence, find_sequences, read_mots, read_seqmap
from wsperception.errors import InputError
from wsperception.evaluation.frame_images import FrameImages
from wsperception.evaluation.mots import evaluate_sequences
from wsperception.evaluation.mots_frames import SequencePair
from wsperception.evaluation.panoptic_command import PANOPTIC_FORMATS, evaluate_panoptic
from wsperception.evaluation.panoptic_run import Progress
from wsperception.evaluation.report import json_text, score_table, scores_mapping, write_files
from wsperception.evaluation.report_page import choose_worst, report_page
from wsperception.evaluation.report_pictures import draw_frame

MOTS = "mots"
FORMATS = (MOTS, *PANOPTIC_FORMATS)


def evaluate_command(
    gt: Path,
    pred: Path,
    out: Path,
    *,
    images: Path | None = None,
    sequences: Sequence[str] = (),
    seqmap: Path | None = None,
    split: str | None = None,
    data_format: str = MOTS,
    missing_as_empty: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> str:
    """Scores `pred` against `gt`, writes scores.json and report.html into `out`, and returns the table as text.

    data_format       one of FORMATS. What follows is about MOTS; for the others, which take no `sequences`, `seqmap` or
                      `strict`, see `evaluate_panoptic`
    gt, pred          a MOTS text file (plain or gzip), a folder of them, PNG folders, or a KITTI MOTS root; see
                      `find_sequences`
    images            camera images for the report's pictures: a folder per sequence, or one folder of frames
    sequences         names to evaluate; all of `seqmap`, or else all of `gt`, where empty
    seqmap            file of lines `name empty first last`: sequences and their frames
    missing_as_empty  a sequence without a prediction file counts as one in which nothing was found
    strict            IoU must exceed 0.5 (mots_tools), not only reach it (TrackEval)
    split             part of a data set, of the formats that have such
    overwrite         replace an earlier scores.json and report.html

    A prediction of a sequence that is not evaluated is left out, and a note says so. Without `seqmap`, PNG ground truth
    or `images` a sequence ends with its last labelled or predicted frame; with one of them, a prediction after the end
    is an error.

    Raises InputError, one line naming the file, for whatever its user can mend.
    """
    _check_options(data_format, {"sequence": sequences, "seqmap": seqmap, "strict": strict}, split)
    _check_out(out, overwrite)
    if data_format != MOTS:
        return evaluate_panoptic(
            gt,
            pred,
            out,
            data_format,
            images=images,
            split=split,
            missing_as_empty=missing_as_empty,
            progress=progress,
        )
    return _evaluate_mots(gt, pred, out, images, _names(gt, sequences, seqmap), missing_as_empty, strict)


def _evaluate_mots(
    gt: Path,
    pred: Path,
    out: Path,
    images: Path | None,
    chosen: tuple[dict[str, Path], dict[str, range]],
    missing_as_empty: bool,
    strict: bool,
) -> str:
    notes: list[str] = []
    names, frames = chosen
    pictures = FrameImages(images, list(names))
    files = _prediction_files(pred, names, missing_as_empty, notes)
    pairs = []
    for name, truth_path in names.items():
        truth = read_mots(truth_path)
        prediction = read_mots(files[name]) if name in files else MotsSequence(name, "no file", ())
        span = frames[name] if name in frames else _span(truth, prediction, pictures.length(name))
        pairs.append(SequencePair(name, truth, prediction, span))
    notes += _content_notes(pairs)
    scores = evaluate_sequences(pairs, strict)
    by_name = {pair.name: pair for pair in pairs}
    worst = [(errors, draw_frame(by_name[errors.sequence], errors, pictures)) for errors in choose_worst(scores)]
    notes += pictures.notes
    page = report_page(scores, pairs, worst, f"{pred} against {gt}", notes)
    write_files(out, {"scores.json": json_text(scores_mapping(scores, notes)), "report.html": page})
    return score_table(scores, notes)


def _check_options(data_format: str, of_mots: Mapping[str, object], split: str | None) -> None:
    if data_format not in FORMATS:
        raise InputError(f"format '{data_format}': unknown; expected {', '.join(FORMATS)}")
    given = [name for name, value in of_mots.items() if value]
    if data_format != MOTS and given:
        raise InputError(f"{given[0]}: belongs to format {MOTS}; expected none for format {data_format}")
    if data_format == MOTS and split is not None:
        raise InputError(f"split: belongs to the formats cityscapes and voc; format {MOTS} takes sequence or seqmap")


def _check_out(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder to write into, got a file")
    for name in ("scores.json", "report.html"):
        if (out / name).exists() and not overwrite:
            raise InputError(f"{out / name}: exists already; expected another output folder, or overwrite")


def _names(gt: Path, wanted: Sequence[str], seqmap: Path | None) -> tuple[dict[str, Path], dict[str, range]]:
    """Sequence name -> ground truth, and its frames where the seqmap tells them."""
    truth = find_sequences(gt)
    frames = read_seqmap(seqmap) if seqmap else {}
    chosen = list(wanted) or list(frames) or list(truth)
    for name in chosen:
        if name not in truth:
            raise InputError(f"{gt}: no ground truth of sequence {name}; there are {_listed(list(truth))}")
        if frames and name not in frames:
            raise InputError(f"{seqmap}: no line for sequence {name}; there are {_listed(list(frames))}")
    return {name: truth[name] for name in chosen}, frames


def _prediction_files(pred: Path, names: dict[str, Path], missing_as_empty: bool, notes: list[str]) -> dict[str, Path]:
    files = find_sequences(pred)
    if pred.is_file() and len(names) == 1:  # one against one: the names need not agree
        return dict.fromkeys(names, pred)
    missing = [name for name in names if name not in files]
    if missing and not missing_as_empty:
        raise InputError(f"{pred}: no prediction of sequence {_listed(missing)}; there are {_listed(list(files))}")
    if missing:
        notes.append(f"no prediction of sequence {_listed(missing)}: counted as nothing found")
    extra = [name for name in files if name not in names]
    if extra:
        notes.append(f"predictions left out, as their sequences are not evaluated: {_listed(extra)}")
    return files


def _span(truth: MotsSequence, prediction: MotsSequence, images: int) -> range:
    known = max(truth.length, images)
    if known and known > truth.last_frame:
        return range(known)
    return range(max(truth.last_frame, prediction.last_frame) + 1)


def _content_notes(pairs: Sequence[SequencePair]) -> list[str]:
    """What takes no part in the scores; InputError if no ground truth object does."""
    evaluated = set(CLASS_NUMBERS.values())
    notes = []
    truth = Counter(entry.class_id for pair in pairs for entry in pair.truth.objects)
    if truth and not evaluated & set(truth):
        known = ", ".join(f"{number} ({name})" for name, number in CLASS_NUMBERS.items())
        raise InputError(
            f"{pairs[0].truth.source}: expected objects of class {known}, got only class {_listed(sorted(truth))}"
        )
    predicted = Counter(entry.class_id for pair in pairs for entry in pair.prediction.objects)
    for what, counter, left_out in (
        ("ground truth", truth, set(truth) - evaluated - {IGNORE_CLASS}),
        ("prediction", predicted, set(predicted) - evaluated),
    ):
        notes += [f"{what}: {counter[number]} objects of class {number} left out" for number in sorted(left_out)]
    empty = [pair.name for pair in pairs if not pair.truth.objects]
    if empty:
        notes.append(f"ground truth of sequence {_listed(empty)} holds no object")
    return notes


def _listed(names: Sequence[object], most: int = 12) -> str:
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")

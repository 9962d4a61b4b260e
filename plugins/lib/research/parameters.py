"""The parameters of a research notebook: what the options may say, and the cell that holds them.

Names are those that `run -p name=value` and papermill put in: the cell is tagged `parameters`.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import bad_input, strip_prefix
from plugins.lib.research.stream import SLUG, check_columns, check_model, check_stream, is_reference

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

MODELS = ("tabular", "text", "images")
ENGINES = ("sklearn", "torch")
TRACKERS = ("wandb", "mlflow")
WIDTH = 88  # columns of a line, where ruff and black break it
MAX_SEED = 2**32 - 1  # what numpy and scikit-learn take
SECRETS = {
    "kaggle": ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"),
    "wandb": ("WANDB_API_KEY", "WANDB_ENTITY", "WANDB_PROJECT"),
}


class Plan(NamedTuple):
    """What a notebook is made of; every text is one printable line."""

    title: str = "Research notebook"
    colab: bool = False
    drive: str | None = None  # folder in Drive, None = do not mount it
    datasets: tuple[str, ...] = ()  # owner/slug
    competition: str = ""
    model: str = "tabular"
    engine: str = "sklearn"
    target: str = ""
    stream: str = ""  # URL, file, folder or owner/slug
    track: tuple[str, ...] = ()
    seed: int = 0
    require_gpu: bool = False

    @property
    def secrets(self) -> list[str]:
        """Return the names of the secrets that the notebook looks for when it runs."""
        of_kaggle = self.datasets or self.competition or is_reference(self.stream)
        found = list(SECRETS["kaggle"]) if of_kaggle else []
        return found + (list(SECRETS["wandb"]) if "wandb" in self.track else [])


def _line(option: str, text: str, most: int = 200) -> str:
    """Return one printable line.

    Raises:
        KaggError: USAGE; the text itself is not repeated, it is anything.
    """
    if not text.strip() or len(text) > most or not text.isprintable():
        raise bad_input(f"{option} is not one printable line of 1 to {most} characters")
    return text


def _dataset(text: str) -> str:
    """Return owner/slug of a reference or of a dataset's page."""
    found = strip_prefix(re.sub(r"^https?://(?:www\.)?kaggle\.com/", "", text.strip()).rstrip("/"))
    if not is_reference(found):
        raise bad_input(f"--dataset {text[:80]!r} is not owner/slug")
    return found


def _competition(text: str) -> str:
    found = re.sub(r"^https?://(?:www\.)?kaggle\.com/(?:competitions|c)/", "", text.strip()).rstrip("/")
    if text and not re.fullmatch(SLUG, found):
        raise bad_input(f"--competition {text[:80]!r} is not the name in a competition's address")
    return found


def _folder(text: str) -> str:
    """Return a folder below MyDrive."""
    parts = _line("--drive", text).strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in text:
        raise bad_input(f"--drive {text[:80]!r} is no folder in Drive", "for example --drive research/titanic")
    return "/".join(parts)


def _check_together(args: argparse.Namespace) -> None:
    """Refuse options of which one would say nothing beside the others."""
    named = [f"--{name}" for name in ("stream", "dataset", "competition") if getattr(args, name)]
    if len(named) > 1:
        raise bad_input(f"{' and '.join(named)} each say what is read", "give one of them")
    if args.drive is not None and args.action != "colab":
        raise bad_input("--drive is for Colab", "use: notebook colab --drive FOLDER")
    if args.model == "images" and args.target:
        raise bad_input("--target is for tables", "the class of a picture is its folder's name")


def make_plan(args: argparse.Namespace) -> Plan:
    """Check the options and return what they ask for.

    Raises:
        KaggError: USAGE, with what to mend; FINDINGS when an address holds a credential.
    """
    if not 0 <= args.seed <= MAX_SEED:
        raise bad_input(f"--seed {args.seed} is not from 0 to {MAX_SEED}")
    _check_together(args)
    stream = check_stream(_line("--stream", args.stream, 2000)) if args.stream else ""
    target = _line("--target", args.target) if args.target else ""
    check_model(stream, args.model)
    check_columns(stream, target, args.out or Path("research.ipynb"))
    datasets = tuple(dict.fromkeys(_dataset(text) for text in args.dataset or ()))
    title = _line("--title", args.title, 100) if args.title else ""
    named = f"{args.model.title()} baseline" + (f" on {datasets[0]}" if datasets else "")
    return Plan(
        title=title or named[:100],
        colab=args.action == "colab",
        drive=None if args.drive is None else _folder(args.drive),
        datasets=datasets,
        competition=_competition(args.competition or ""),
        model=args.model,
        engine=args.engine,
        target=target,
        stream=stream,
        track=tuple(dict.fromkeys(args.track or ())),
        seed=args.seed,
        require_gpu=args.require_gpu,
    )


# ---------------------------------------------------------------- the cell


def quoted(text: str) -> str:
    """Return a Python literal of a text, quoted as ruff and black do."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    body = text.replace("\\", "\\\\").replace(mark, "\\" + mark)
    return mark + body + mark


def literal(value: Any) -> str:
    """Return a Python literal on one line."""
    if isinstance(value, str):
        return quoted(value)
    return f"[{', '.join(map(quoted, value))}]" if isinstance(value, list | tuple) else repr(value)


def _wide(text: str) -> int:
    """Return the columns that a text takes; CJK characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def assignment(name: str, value: Any) -> str:
    """Return `name = value`, broken into lines where a formatter would break it."""
    line = f"{name} = {literal(value)}"
    if _wide(line) <= WIDTH:
        return line
    if isinstance(value, list | tuple):
        return "\n".join([f"{name} = [", *(f"    {quoted(item)}," for item in value), "]"])
    return f"{name} = (\n    {literal(value)}\n)" if _wide(literal(value)) + 4 <= WIDTH else line


def rows(plan: Plan) -> Iterable[tuple[str, Sequence[tuple[str, Any]]]]:
    """Yield groups of parameters: what they are about, names and values."""
    images = plan.model == "images"
    yield (
        "what is read: an https address, a file, a folder or owner/slug\n(empty: the first dataset, or competition)",
        [("stream", plan.stream), ("datasets", list(plan.datasets)), ("competition", plan.competition)],
    )
    yield "of several files this one, for example train*.csv", [("data_file", "")]
    yield "where Kaggle mounts data", [("input_root", "/kaggle/input")]
    column = "label" if images else plan.target
    yield "the column that is predicted (empty: the last one)", [("target", column)]
    yield "columns that are not used, and columns of free text", [("drop_columns", []), ("text_columns", [])]
    yield (
        "tabular, text or images; sklearn or torch; auto, classification or regression",
        [("model", plan.model), ("engine", plan.engine), ("task", "classification" if images else "auto")],
    )
    yield (
        "rows in memory at once; rows to look at first; rows at most (0: all)",
        [("chunk_rows", 256 if images else 20_000), ("sample_rows", 64 if images else 2_000), ("max_rows", 0)],
    )
    yield (
        "passes over the data, strength of the regularisation, seed",
        [
            ("epochs", 3),
            ("alpha", 0.0001),
            ("seed", plan.seed),
        ],
    )
    yield (
        "size of the hash table of texts and categories; of pictures, the side in pixels",
        [("hash_bits", 16 if plan.model == "text" else 12), ("image_side", 32)],
    )
    yield (
        "share of the rows that only measures, and at most so many of them; classes at most",
        [("holdout_ratio", 0.2), ("max_holdout_rows", 2_000 if images else 50_000), ("max_classes", 1_000)],
    )
    yield "stop by itself after so many seconds, to go on in the next run (0: never)", [("time_limit_s", 0)]
    yield (
        "go on from a checkpoint, also from one in the folder of an earlier run",
        [("resume", True), ("resume_from", ""), ("checkpoint_chunks", 10)],
    )
    yield "folder of the results (empty: Drive, /kaggle/working, or here)", [("output_dir", "")]
    yield "stop at once when no GPU can be used", [("require_gpu", plan.require_gpu)]
    yield "names of secrets to look for; values never stand in a notebook", [("secret_names", plan.secrets)]
    if plan.drive is not None:
        yield "folder in Drive", [("drive_folder", plan.drive)]
    if plan.track:
        yield "name of the project in the tracker", [("project_name", "research")]


def parameters_cell(plan: Plan) -> str:
    """Return the source of the cell."""
    groups = []
    for about, pairs in rows(plan):
        comment = "\n".join(f"# {line}" for line in about.splitlines())
        groups.append("\n".join([comment, *(assignment(name, value) for name, value in pairs)]))
    return "\n\n".join(groups) + "\n"

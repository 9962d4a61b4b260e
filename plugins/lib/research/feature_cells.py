"""The cells of a research notebook that look at the data, turn rows into numbers and hold rows out.

The texts are cells, not code of this program: they stand alone, and a test runs them.
"""

from __future__ import annotations

SAMPLE = """\
sample = next((frame for _, frame in chunks(sample_rows)), None)
if sample is None:
    raise ValueError(f"{shown_source} has no rows")
unknown = {target, *drop_columns, *text_columns} - {"", *sample.columns}
if unknown:
    known = ", ".join(map(str, sample.columns))
    raise KeyError(f"no column {', '.join(sorted(unknown))}; there are: {known}")
if not target:
    target = str(sample.columns[-1])
    print(f"target is not set: the last column, {target!r}, is predicted")
print(f"the first {len(sample)} rows, {len(sample.columns)} columns")
shown = sample.drop(columns="content") if "content" in sample else sample
print(
    pd.DataFrame(
        {
            "missing": shown.isna().sum(),
            "distinct": shown.astype(str).nunique(),
            "example": shown.iloc[0].map(lambda value: str(value)[:40]),
        }
    ).to_string()
)
"""

TABLE_FEATURES = '''\
import numpy as np
from scipy import sparse
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer


def is_numeric(column):
    """Tell whether every value that is there is a number."""
    there = column.dropna()
    if len(there) == 0 or pd.api.types.is_datetime64_any_dtype(there):
        return False
    return bool(pd.to_numeric(there, errors="coerce").notna().all())


def words_in(column):
    """Return how many words the values have on average."""
    there = column.dropna().astype(str)
    return there.str.split().str.len().mean() if len(there) else 0


inputs = [name for name in sample.columns if name not in {target, *drop_columns}]
texts = [name for name in inputs if name in text_columns]
numeric = [n for n in inputs if n not in texts and is_numeric(sample[n])]
others = [n for n in inputs if n not in texts and n not in numeric]
if not text_columns:
    texts = [name for name in others if words_in(sample[name]) > 4]
    if model == "text" and not texts and others:
        texts = [max(others, key=lambda name: words_in(sample[name]))]
if model == "text" and not texts:
    raise ValueError("no column holds text: set text_columns")
categories = [name for name in others if name not in texts]
if model == "text":
    numeric, categories = [], []
category_hash = FeatureHasher(n_features=2**hash_bits, input_type="string")
text_hash = HashingVectorizer(n_features=2**hash_bits, alternate_sign=False)


def features(frame, scale):
    """Return the rows as a sparse matrix: scaled numbers, what is missing, hashes."""
    parts = []
    if numeric:
        values = np.column_stack([numbers(frame[name]) for name in numeric])
        missing = np.isnan(values)
        scaled = np.where(missing, 0.0, (values - scale["mean"]) / scale["deviation"])
        parts += [np.clip(scaled, -10, 10), missing.astype(float)]
    if categories:
        columns = [frame[name].map(label_of) for name in categories]
        rows = zip(*columns, strict=True)
        named = (
            [f"{n}={v}" for n, v in zip(categories, row, strict=True)] for row in rows
        )
        parts.append(category_hash.transform(named))
    if texts:
        joined = frame[texts].fillna("").astype(str).agg(" ".join, axis=1)
        parts.append(text_hash.transform(joined))
    return sparse.hstack([sparse.csr_matrix(part) for part in parts], format="csr")


print(f"numbers: {numeric}\\ncategories: {categories}\\ntexts: {texts}")
'''

IMAGE_FEATURES = '''\
import numpy as np

need("PIL", "pillow>=9")
from PIL import Image  # noqa: E402 - it may just have been installed

numeric = []


def features(frame, scale):
    """Return the pictures as float64 (rows, side * side * 3), from -1 to 1."""
    rows = []
    for content in frame["content"]:
        with Image.open(io.BytesIO(content)) as picture:
            small = picture.convert("RGB").resize((image_side, image_side))
        rows.append(np.asarray(small, dtype=float).ravel() / 127.5 - 1)
    return np.stack(rows)


print(f"pictures of {image_side} x {image_side} pixels; a class is a folder's name")
'''

SCAN = '''\
def numbers(column):
    """Return a column as floats; what is no finite number is missing."""
    values = pd.to_numeric(column, errors="coerce").astype(float).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def label_of(value):
    """Return a class or category as text: 1, 1.0 and True are "1", "1" and "True"."""
    if isinstance(value, (list, dict)):
        return json.dumps(value, sort_keys=True)
    if pd.isna(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def draw(first, count):
    """Return a number from 0 to 1 for each row, the same ones in every run (splitmix64)."""
    with np.errstate(over="ignore"):
        x = np.arange(first, first + count, dtype=np.uint64)
        x = x + np.uint64(seed * 2_654_435_761 % 2**32)
        x = x * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        return (x ^ (x >> np.uint64(31))).astype(float) / 2**64


def find_task():
    """Return what is predicted: classes, or a number."""
    if task != "auto":
        return task
    there = sample[target].dropna()
    if not is_number(there):
        return "classification"
    values = pd.to_numeric(there)
    whole = bool((values % 1 == 0).all())
    return "classification" if whole and values.nunique() <= 20 else "regression"


def is_number(there):
    """Tell whether a column holds numbers; true and false are classes."""
    if len(there) == 0 or pd.api.types.is_bool_dtype(there):
        return False
    return bool(pd.to_numeric(there, errors="coerce").notna().all())


def truth(frame):
    """Return the target: texts of classes, or floats; and which rows have one."""
    if task == "classification":
        labels = frame[target].map(label_of).astype(str).to_numpy(dtype=object)
        return labels, labels != ""
    values = pd.to_numeric(frame[target], errors="coerce").astype(float).to_numpy()
    return values, np.isfinite(values)


class Moments:
    """Mean and deviation of columns, added up piece by piece (Chan et al., 1979)."""

    def __init__(self, width):
        self.count, self.mean = np.zeros(width), np.zeros(width)
        self.squares = np.zeros(width)

    def add(self, values):
        """Add an array (rows, columns); NaN is left out."""
        there = ~np.isnan(values)
        count = there.sum(axis=0)
        mean = np.where(there, values, 0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(there, values - mean, 0) ** 2).sum(axis=0)
        total, shift = self.count + count, mean - self.mean
        share = count / np.maximum(total, 1)
        self.squares += squares + shift**2 * self.count * share
        self.mean, self.count = self.mean + shift * share, total

    def scale(self):
        """Return the mean, and the deviation without zeros."""
        deviation = np.sqrt(self.squares / np.maximum(self.count, 1))
        return {"mean": self.mean, "deviation": np.where(deviation > 0, deviation, 1.0)}


def scan():
    """Read the data once: scales and classes of the training rows, the held-out rows."""
    moments, of_target = Moments(len(numeric)), Moments(1)
    found, kept, kept_draws = {}, sample.iloc[:0].assign(row=0), np.zeros(0)
    rows = {"read": 0, "train": 0, "holdout": 0, "without_target": 0}
    for first, frame in chunks():
        values, usable = truth(frame)
        draws = draw(first, len(frame))
        train = usable & (draws >= holdout_ratio)
        held = usable & (draws < holdout_ratio)
        if train.any() and numeric:
            columns = [numbers(frame[name])[train] for name in numeric]
            moments.add(np.column_stack(columns))
        if train.any() and task == "regression":
            of_target.add(values[train][:, None])
        elif train.any():
            for name in values[train]:
                found[name] = found.get(name, 0) + 1
        if len(found) > max_classes:
            raise ValueError(
                f"{target!r} has over {max_classes} classes: is it a number? task = 'regression'"
            )
        part = frame[held].assign(row=first + np.flatnonzero(held))
        if len(part):
            kept = pd.concat([kept, part], ignore_index=True) if len(kept) else part
            kept_draws = np.concatenate([kept_draws, draws[held]])
        if len(kept) > max_holdout_rows:  # those with the smallest draws: a fair sample
            order = np.sort(np.argsort(kept_draws, kind="stable")[:max_holdout_rows])
            kept = kept.iloc[order].reset_index(drop=True)
            kept_draws = kept_draws[order]
        rows["train"] += int(train.sum())
        rows["holdout"] += int(held.sum())
        rows["without_target"] += int((~usable).sum())
        rows["read"] += len(frame)
    return moments.scale(), of_target.scale(), dict(sorted(found.items())), kept, rows


task = find_task()
scale, target_scale, classes, holdout, rows = scan()
print(f"{task} of {target!r}: {rows}")
if not rows["train"] or not len(holdout):
    raise ValueError(f"too few rows to train and to measure: {rows}")
if task == "classification":
    shown = dict(sorted(classes.items(), key=lambda item: -item[1])[:10])
    print(f"{len(classes)} classes, the most frequent: {shown}")
    if len(classes) < 2:
        raise ValueError(f"{target!r} has only one class in the training rows")
names = np.array(list(classes), dtype=object)
'''

"""The cells of a research notebook that find the data and read it in pieces.

The texts are cells, not code of this program: they stand alone, and a test runs them.
"""

from __future__ import annotations

LOCATE = '''\
import re

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".zip")
PACKED = (".gz", ".bz2", ".xz")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def find_mount(kind, reference):
    """Return the folder where Kaggle mounts an input, in the new or the old layout."""
    slug = reference.rpartition("/")[2]
    for folder in (
        Path(input_root) / kind / reference,  # /kaggle/input/datasets/OWNER/SLUG
        Path(input_root) / kind / slug,
        Path(input_root) / slug,  # /kaggle/input/SLUG
    ):
        if folder.is_dir():
            return folder
    return None


def find_input(kind, reference):
    """Return the folder of a dataset or competition: mounted, else downloaded."""
    folder = find_mount(kind, reference)
    if folder is not None:
        return str(folder)
    if place == "kaggle":
        print(f"{reference} is not mounted; there are:", *Path(input_root).glob("*"))
    need("kagglehub", "kagglehub>=0.3")
    import kagglehub

    print(f"downloading {reference}")
    if kind == "competitions":
        return kagglehub.competition_download(reference)
    return kagglehub.dataset_download(reference)


def locate():
    """Return the address, file or folder that is read."""
    if "://" in stream:
        check_url(stream)
        return stream
    for folder in (".", os.environ.get("KAGG_INPUT_DIR"), "/content"):
        if stream and folder and Path(folder, stream).exists():
            return str(Path(folder, stream))
    if stream and not re.fullmatch(r"[\\w-]+/[\\w-]+", stream):
        raise FileNotFoundError(f"stream = {stream!r} is not there")
    if stream or datasets:
        return find_input("datasets", stream or datasets[0])
    if competition:
        return find_input("competitions", competition)
    raise ValueError("nothing to read: set stream, datasets or competition")


def plain_suffix(name):
    """Return the suffix of a file or address, without compression: x.csv.gz is .csv."""
    path = Path(urllib.parse.urlsplit(name).path if "://" in name else name)
    parts = [part.lower() for part in path.suffixes]
    while parts and parts[-1] in PACKED:
        parts.pop()
    return parts[-1] if parts else ""


def choose_file(folder):
    """Return the one file of a folder that is read: data_file, train.*, the largest."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    if data_file:
        fits = [path for path in files if path.match(data_file)]
    else:
        fits = [path for path in files if plain_suffix(path.name) in FORMATS]
        named = [path for path in fits if path.name.lower().startswith("train")]
        fits = named or fits
    if not fits:
        shown = ", ".join(str(path.relative_to(folder)) for path in files[:20])
        raise FileNotFoundError(f"nothing to read in {folder}; it holds: {shown}")
    return max(fits, key=lambda path: path.stat().st_size)


source = str(locate())
if "://" not in source and Path(source).is_dir() and model != "images":
    source = str(choose_file(source))
shown_source = source.partition("?")[0]  # a signature in an address is not shown
print(f"reading {shown_source}")
'''

READ_TABLE = '''\
import bz2
import gzip
import lzma
import zipfile

import pandas as pd

UNPACK = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def open_source():
    """Open the source as a binary file; a remote one is read by pieces of 1 MiB."""
    if "://" in source:
        return io.BufferedReader(RemoteFile(source), 1 << 20)
    return Path(source).open("rb")


def read_frames(file, name, rows):
    """Yield data frames with at most `rows` rows of an open file."""
    suffix = plain_suffix(name)
    last = Path(name.partition("?")[0]).suffix.lower()
    if last in UNPACK:
        file = UNPACK[last](file)
    if suffix == ".zip":
        yield from read_members(file, rows)
    elif suffix == ".parquet":
        need("pyarrow", "pyarrow>=12")
        import pyarrow.parquet as pq

        if not file.seekable():
            raise OSError("the server knows no ranges: download the file first")
        for batch in pq.ParquetFile(file).iter_batches(batch_size=rows):
            yield batch.to_pandas()
    elif suffix in (".jsonl", ".ndjson"):
        with pd.read_json(file, lines=True, chunksize=rows, dtype=False) as reader:
            yield from reader
    else:  # every value as text, so that each piece is understood in the same way
        options = {
            "sep": separator_of(file),
            "dtype": str,
            "encoding_errors": "replace",
        }
        with pd.read_csv(file, chunksize=rows, **options) as reader:
            yield from reader


def separator_of(file):
    """Return what the first line of a table is split by; nothing is consumed."""
    line = file.peek(1 << 16)[: 1 << 16].split(b"\\n")[0].decode("utf-8", "replace")
    return max(",;\\t|", key=line.count)


def read_members(file, rows):
    """Yield the frames of one file in a zip: data_file, train.*, or the largest."""
    if not file.seekable():
        raise OSError("the server knows no ranges: download the zip first")
    with zipfile.ZipFile(file) as archive:
        fits = [
            m for m in archive.infolist() if plain_suffix(m.filename) in FORMATS[:-1]
        ]
        if data_file:
            fits = [m for m in fits if Path(m.filename).match(data_file)]
        else:
            train = [
                m for m in fits if Path(m.filename).name.lower().startswith("train")
            ]
            fits = train or fits
        if not fits:
            shown = archive.namelist()[:20]
            raise ValueError(f"the zip has nothing to read; it holds: {shown}")
        chosen = max(fits, key=lambda member: member.file_size)
        with archive.open(chosen) as member:
            yield from read_frames(member, chosen.filename, rows)


def chunks(rows=None):
    """Yield (number of the first row, frame): the data from its start, in pieces."""
    first = 0
    with open_source() as file:
        for frame in read_frames(file, source, rows or chunk_rows):
            if max_rows:
                frame = frame.iloc[: max_rows - first]
            if len(frame):
                yield first, frame.reset_index(drop=True)
            first += len(frame)
            if max_rows and first >= max_rows:
                return


def identity():
    """Return what tells this source from another, without reading it whole."""
    if "://" in source:
        with RemoteFile(source) as file:
            return [shown_source, file.size, file.version]
    with Path(source).open("rb") as file:
        begin = hashlib.sha256(file.read(1 << 20)).hexdigest()
    return [Path(source).name, Path(source).stat().st_size, begin]
'''

READ_IMAGES = '''\
import zipfile

import pandas as pd


def open_zip():
    """Open the zip; of a remote one only the pictures that are used are fetched."""
    if "://" not in source:
        return zipfile.ZipFile(source)
    file = io.BufferedReader(RemoteFile(source), 1 << 18)
    if not file.seekable():
        raise OSError("the server knows no ranges: download the zip first")
    return zipfile.ZipFile(file)


def names_in(names):
    """Return the pictures in an order of their own: not class by class."""
    fits = [name for name in names if Path(name).suffix.lower() in PICTURES]
    if data_file:
        fits = [name for name in fits if Path(name).match(data_file)]
    fits.sort(key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    return fits[: max_rows or None]


def pictures():
    """Yield (name, bytes) of every picture of a folder or zip."""
    if "://" not in source and Path(source).is_dir():
        folder = Path(source)
        files = (path for path in folder.rglob("*") if path.is_file())
        for name in names_in([path.relative_to(folder).as_posix() for path in files]):
            yield name, (folder / name).read_bytes()
    else:
        with open_zip() as archive:
            for name in names_in(archive.namelist()):
                yield name, archive.read(name)


def chunks(rows=None):
    """Yield (number of the first row, frame): name, content, and the folder's name."""
    first, held = 0, []
    size = rows or chunk_rows
    columns = ["name", "content", target]

    def piece():
        return pd.DataFrame(held, columns=columns)

    for name, content in pictures():
        held.append((name, content, Path(name).parent.name or "none"))
        if len(held) == size:
            yield first, piece()
            first, held = first + len(held), []
    if held:
        yield first, piece()


def identity():
    """Return what tells this source from another, without reading it whole."""
    if "://" in source:
        with RemoteFile(source) as file:
            return [shown_source, file.size, file.version]
    if Path(source).is_file():
        return [Path(source).name, Path(source).stat().st_size]
    files = sorted(path for path in Path(source).rglob("*") if path.is_file())
    listed = [
        (path.relative_to(source).as_posix(), path.stat().st_size) for path in files
    ]
    return [hashlib.sha256(json.dumps(listed).encode()).hexdigest()]
'''

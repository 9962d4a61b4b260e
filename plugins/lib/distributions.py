"""Say which distribution on PyPI provides an import: a table reviewed by hand, never a guess and never a look-up.

Distribution names were each checked against PyPI's own list and summaries on 2026-11-26. A name of somebody's private
module that is also free on PyPI is how dependency confusion starts, so a name that is not here stays unknown.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import NamedTuple

from plugins.lib.distribution_names import TABLE

# What notebook services put on their machines and no registry has. `kaggle.competitions` are old competitions' APIs.
_PLATFORM = {
    name: service
    for service, names in {
        "Kaggle": "kaggle_secrets kaggle_datasets kaggle_web_client kaggle_session kaggle_gcp kaggle_evaluation "
        "learntools kaggle.competitions riiideducation ubiquant jpx_tokyo_market_prediction optiver2023 enefit "
        "amp_pd_peptide amp_pd_peptide_310 jo_wilder jo_wilder_310 public_timeseries_testing_util",
        "Colab": "google.colab colabtools",
        "Databricks": "dbutils dbruntime",
    }.items()
    for name in names.split()
}

# Modules that Python had until 3.12, 3.13 or 2.7 (docs.python.org/3/whatsnew): no requirement, whatever runs this.
_OLD_STANDARD = """
__main__ __builtin__ distutils imp asyncore asynchat smtpd cgi cgitb crypt telnetlib pipes uu xdrlib imghdr sndhdr
audioop aifc sunau chunk nntplib spwd nis ossaudiodev mailcap msilib lib2to3 urllib2 urlparse cPickle StringIO
cStringIO ConfigParser Queue HTMLParser Tkinter tkMessageBox tkFileDialog httplib cookielib Cookie BaseHTTPServer
SimpleHTTPServer SocketServer xmlrpclib commands thread dummy_thread dummy_threading htmlentitydefs robotparser
anydbm dbhash whichdb dumbdbm copy_reg repr sets md5 sha UserDict UserList UserString exceptions itertools compiler
formatter parser symbol macpath binhex _winreg
"""
_STANDARD = sys.stdlib_module_names | frozenset(_OLD_STANDARD.split())

# Distributions that provide the same imports as the one in the table: who asks for one of them has the import.
_SAME = """
opencv-python: opencv-python-headless opencv-contrib-python opencv-contrib-python-headless
tensorflow: tensorflow-cpu tensorflow-gpu tensorflow-macos tensorflow-rocm tf-nightly tf-nightly-gpu intel-tensorflow
keras: keras-nightly
tensorboard: tb-nightly
tensorflow-text: tensorflow-text-nightly
tensorflow-probability: tfp-nightly
tensorflow-datasets: tfds-nightly
tensorflow-hub: tf-hub-nightly
tensorflow-addons: tfa-nightly
tf-models-official: tf-models-nightly
tf-agents: tf-agents-nightly
faiss-cpu: faiss-gpu faiss-gpu-cu11 faiss-gpu-cu12
onnxruntime: onnxruntime-gpu onnxruntime-directml onnxruntime-openvino
pillow: pillow-simd
psycopg2-binary: psycopg2
cupy-cuda12x: cupy cupy-cuda11x cupy-cuda13x cupy-cuda101 cupy-cuda110 cupy-cuda111
cudf-cu12: cudf-cu11 cudf-cu13
cuml-cu12: cuml-cu11 cuml-cu13
pycryptodome: pycrypto
levenshtein: python-levenshtein
pinecone: pinecone-client
paddlepaddle: paddlepaddle-gpu
xgboost: xgboost-cpu
spacy: spacy-nightly
fpdf2: fpdf
dgl: dgl-cu110 dgl-cu111
mxnet: mxnet-cu101 mxnet-cu110 mxnet-cu112
beautifulsoup4: bs4
nvidia-ml-py: pynvml nvidia-ml-py3
"""

# conda's names for what PyPI calls otherwise (anaconda.org/conda-forge, looked up 2026-11-26).
_CONDA = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "opencv": "opencv-python",
    "py-opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "pytables": "tables",
    "matplotlib-base": "matplotlib",
    "python-graphviz": "graphviz",
    "msgpack-python": "msgpack",
}


# Projects of PyPI that hold nothing but a word about which other one is meant.
_STUBS = {"sklearn": "scikit-learn", "skimage": "scikit-image"}


class Provider(NamedTuple):
    """Who provides an import.

    `kind` is standard, platform, known, installed (only this environment says so), ambiguous or unknown; `names` are
    distributions, or the service for platform.
    """

    kind: str
    names: tuple[str, ...] = ()


def normalised(distribution: str) -> str:
    """Return the name in the form that compares: packaging.python.org/en/latest/specifications/name-normalization."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@functools.cache
def table() -> dict[str, str]:
    """Return import name -> distribution."""
    found = {}
    for line in TABLE.splitlines():
        for word in () if line.startswith("#") else line.split():
            name, _, distribution = word.partition("=")
            found[name] = distribution or name.replace("_", "-")
    return found


@functools.cache
def _namespaces() -> frozenset[str]:
    """Return the packages that several distributions share and none owns."""
    dotted = {name.partition(".")[0] for name in table() if "." in name}
    return frozenset(name for name in dotted if name not in table())


@functools.cache
def _distributions() -> dict[str, str]:
    """Return normalised name -> the name of the table, for every distribution in it and those that replace it."""
    found = {normalised(name): name for name in table().values()}
    for line in _SAME.split("\n"):
        main, _, others = line.partition(":")
        found |= {normalised(other): found[normalised(main)] for other in others.split() if normalised(main) in found}
    return found


def same(distribution: str) -> str:
    """Return a key that is equal for distributions that provide the same imports."""
    key = normalised(distribution)
    return normalised(_distributions().get(key, key))


def is_known(distribution: str) -> bool:
    """Say whether a distribution is in the table."""
    return normalised(distribution) in _distributions()


def stub(name: str) -> str:
    """Return the distribution that is meant by a project of PyPI that has nothing in it, "" for any other."""
    return _STUBS.get(normalised(name), "")


def from_conda(name: str) -> str:
    """Return the PyPI name of a conda package, "" when the table has none."""
    known = _CONDA.get(name.lower(), name)
    return known if is_known(known) else ""


def lookup(module: str) -> Provider:
    """Return who provides a module, by the longest part of its dotted name that the table has."""
    parts = module.split(".")
    if parts[0] in _STANDARD:
        return Provider("standard")
    for count in range(min(len(parts), 6), 0, -1):
        prefix = ".".join(parts[:count])
        if prefix in _PLATFORM:
            return Provider("platform", (_PLATFORM[prefix],))
        if prefix in table():
            return Provider("known", (table()[prefix],))
    return Provider("unknown") if parts[0] in _namespaces() else _installed(parts[0])


@functools.cache
def _providers() -> dict[str, list[str]]:
    from importlib.metadata import packages_distributions

    return {name: sorted(set(found)) for name, found in packages_distributions().items()}


def _installed(name: str) -> Provider:
    """Return what this environment knows of an import that the table lacks."""
    found = [one for one in _providers().get(name, ()) if _is_public(one)]
    if len(found) > 1:
        return Provider("ambiguous", tuple(found))
    return Provider("installed", tuple(found)) if found else Provider("unknown")


def _is_public(distribution: str) -> bool:
    """Say whether a distribution came from an index: direct_url.json (PEP 610) names another origin."""
    from importlib.metadata import PackageNotFoundError, files
    from importlib.metadata import distribution as installed

    try:
        return installed(distribution).read_text("direct_url.json") is None and files(distribution) is not None
    except PackageNotFoundError:
        return False

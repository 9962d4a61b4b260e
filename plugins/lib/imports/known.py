"""Which modules may go or move when nobody names them: what their import does beyond binding a name.

A module that is not listed may do anything when it is imported, so it counts as imported for its effects. Reviewed
2026-11-26 against the modules' `__init__` files and documentation.
"""

from __future__ import annotations

import re
import sys


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Gone from newer versions of Python, harmless where they are.
_OLD_STDLIB = _names(
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils formatter imghdr imp mailcap nntplib parser pipes "
    "smtpd sndhdr spwd sunau symbol telnetlib uu xdrlib"
)
_STDLIB = frozenset(sys.stdlib_module_names) | _OLD_STDLIB

# Their import defines names and changes nothing that other code could miss.
_PLAIN = _names(
    """
    absl albumentations altair annoy anthropic attr attrs bayes_opt bokeh boto3 botocore bs4 cachetools captum
    catboost category_encoders chardet click cloudpickle cohere colorama contextily cv2 cvxopt cvxpy cycler
    datasets dateutil deap diffusers docx dotenv duckdb efficientnet_pytorch einops eli5 emcee emoji fairlearn
    faiss faker fastapi fastparquet featuretools filterpy fiona flask folium fsspec future fuzzywuzzy gcsfs
    gdown gensim geopy graphviz gym gymnasium h2o h3 h5py haversine hdbscan hmmlearn holidays html5lib httpx
    huggingface_hub humanize hyperopt igraph imageio imblearn imgaug implicit imutils IPython ipywidgets
    iterstrat jax jieba jinja2 joblib joypy kaggle_secrets kagglehub keras keras_tuner kerastuner kmodes kneed
    langdetect Levenshtein librosa lifelines lightfm lightgbm lime lxml markdown matplotlib matplotlib_venn
    mediapipe minisom missingno mlxtend more_itertools mpl_toolkits nbformat netCDF4 networkx nibabel nltk numba
    numexpr numpy onnx openai opendatasets openpyxl optuna orjson ortools packaging pandas pandas_datareader
    pandasql PIL plotly plotnine pmdarima polars prettytable psutil psycopg2 pulp pyarrow pycocotools pycountry
    pydantic pydicom pydot pydotplus pylab pymongo pyodbc pyparsing PyPDF2 pyproj pyspark pytesseract pytz
    quandl rank_bm25 rapidfuzz rasterio regex requests rich rouge_score s3fs sacrebleu sagemaker scikitplot
    scipy selenium sentencepiece seqeval shap shapely SimpleITK simplejson simpy six skimage sklearn skopt
    soundfile spacy sqlalchemy squarify stable_baselines3 statsmodels surprise sympy tables tabulate talib
    tenacity tensorboard tensorboardX tensorflow tensorflow_datasets tensorflow_hub tensorflow_probability
    termcolor textblob textstat tf_keras tifffile tiktoken tokenizers toml toolz torch torchinfo torchmetrics
    torchsummary tpot tqdm trimesh tsfresh typing_extensions ujson umap unidecode urllib3 wget wordcloud xgboost
    xlrd xlsxwriter yaml yfinance zarr
    """
)

# What the import of a module does beyond binding its name; the longest prefix of the dotted path counts.
_EFFECTS = {
    "__future__": "changes how the code is compiled",
    "__main__": "is the notebook itself",
    "antigravity": "opens a page",
    "this": "prints a text",
    "readline": "changes how input works",
    "rlcompleter": "changes how input works",
    "site": "changes the search path",
    "seaborn": "registers colour maps, and in old versions sets a style",
    "mpl_toolkits.mplot3d": "registers the 3d projection",
    "matplotlib.backends": "sets the backend up",
    "sklearn.experimental": "enables estimators",
    "google.colab": "sets up the tools of Colab",
    "pandas.tseries.converter": "registers converters",
    "pyspark.pandas": "patches pandas and NumPy functions",
    "tensorflow.contrib": "registers operations",
    "jax.experimental": "may register types and rules",
    "torchvision": "registers operations and models",
    "torchaudio": "registers operations",
    "torchtext": "registers operations",
    "timm": "registers models",
    "transformers": "registers models and types",
    "tensorflow_text": "registers operations",
    "tensorflow_addons": "registers operations and layers",
    "tensorflow_io": "registers file systems",
    "tensorflow_decision_forests": "registers operations",
    "keras_nlp": "registers layers",
    "keras_cv": "registers layers",
    "keras_hub": "registers layers",
    "geopandas": "registers the geometry type",
    "dask": "registers dispatch functions and accessors",
    "dill": "extends pickle",
    "hvplot": "adds an accessor to tables",
    "cufflinks": "adds methods to tables",
    "pandas_profiling": "adds methods to tables",
    "ydata_profiling": "adds methods to tables",
    "swifter": "adds an accessor to tables",
    "janitor": "adds methods to tables",
    "pint_pandas": "registers a type",
    "pandas_ta": "adds an accessor to tables",
    "pingouin": "adds methods to tables",
    "skimpy": "adds methods to tables",
    "rioxarray": "adds an accessor to arrays",
    "arviz": "registers styles",
    "yellowbrick": "sets a style",
    "fastai": "patches classes of other libraries",
    "fastcore": "patches classes of other libraries",
    "comet_ml": "hooks into frameworks that are imported after it",
    "wandb": "hooks into frameworks",
    "mlflow": "hooks into frameworks",
    "unsloth": "patches transformers, which must come after it",
    "bitsandbytes": "registers operations",
    "pycuda": "may start a CUDA context",
    "rdkit": "changes how molecules are shown",
    "pybullet_envs": "registers environments",
    "ale_py": "registers environments",
    "kaggle": "signs in",
    "setuptools": "patches distutils",
}
# Nobody minds whether these come before or after another import.
_ORDER_FREE = _names(
    "arviz dask geopandas google.colab hvplot mlflow mpl_toolkits.mplot3d pingouin readline seaborn timm torchaudio "
    "torchvision transformers wandb"
)
# Each brings its own copies of native libraries, and which one loads first decides whose copies are used.
NATIVE = frozenset({"faiss", "mxnet", "onnxruntime", "open3d", "paddle", "tensorflow", "tensorrt", "torch"})

_PLUGIN_MODULE = re.compile(r"PIL\.\w+Plugin$")
# A library that is used without its name: by methods that it has added to others.
UNNAMED_USE = {"tqdm": re.compile(r"\bprogress_(?:apply|map|aggregate|transform)\b")}


def import_effect(module: str, attribute: str = "") -> str:
    """Return what importing the module, or `attribute` from it, may do besides binding a name; "" for nothing."""
    path = f"{module}.{attribute}" if attribute else module
    entry = _entry(path)
    if entry:
        return f"{entry} {_EFFECTS[entry]}"
    if _PLUGIN_MODULE.match(path):
        return f"{path} registers a file format"
    root = module.partition(".")[0]
    if not root:
        return "a relative import runs a file of its author's"
    return "" if root in _STDLIB or root in _PLAIN else f"{root} is not known to be free of effects when it is imported"


def is_deep_effect(module: str, attribute: str) -> bool:
    """Say whether it is importing `attribute`, and not the module, that has the effect."""
    path = f"{module}.{attribute}"
    return _entry(path) != _entry(module) or _PLUGIN_MODULE.match(path) is not None


def moves_freely(module: str, attribute: str = "") -> bool:
    """Say whether the import may trade places with other imports."""
    entry = _entry(f"{module}.{attribute}" if attribute else module)
    return entry in _ORDER_FREE if entry else not import_effect(module, attribute)


def _entry(path: str) -> str:
    """Return the longest prefix of a dotted path that has an entry, or ""."""
    while path and path not in _EFFECTS:
        path = path.rpartition(".")[0]
    return path

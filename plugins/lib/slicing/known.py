"""What calls of well-known names do: change their arguments, hand them on, draw random numbers, touch files.

Everything that is not named here may change whatever it is given. Sources are the documents of numpy, pandas,
scikit-learn, matplotlib and Python's library, looked up 2026-11-26; only names with one meaning in all are listed.
"""

from __future__ import annotations

import re

PLOT_MODULES = frozenset(
    {
        *("matplotlib", "seaborn", "plotly", "bokeh", "altair", "missingno", "folium", "graphviz", "IPython", "pydot"),
        *("mpl_toolkits", "wordcloud", "squarify", "plotnine", "pylab", "yellowbrick", "scikitplot", "cufflinks"),
        *("holoviews", "hvplot", "pydotplus", "dtreeviz", "ipywidgets", "tabulate", "pprint", "sweetviz", "termcolor"),
        *("shap", "eli5", "lime", "mplfinance", "pyvis", "dash", "calmap", "matplotlib_venn", "joypy", "ptitprince"),
    }
)
# Modules whose functions and classes neither change their arguments nor keep hidden state.
PURE_MODULES = frozenset(
    {
        *("math", "cmath", "statistics", "re", "json", "time", "datetime", "calendar", "string", "textwrap", "hashlib"),
        *("decimal", "fractions", "typing", "dataclasses", "enum", "abc", "inspect", "types", "platform", "base64"),
        *(
            "zlib",
            "html",
            "unicodedata",
            "difflib",
            "struct",
            "numbers",
            "gc",
            "glob",
            "fnmatch",
            "pathlib",
            "requests",
        ),
        *("scipy", "typing_extensions", "missingpy", "timeit", "psutil", "uuid", "locale", "bisect", "traceback"),
        *("csv", "io", "gzip", "zipfile", "tempfile", "copy", "__future__", "contextlib", "argparse", "collections"),
        *("numpy", "pandas", "polars", "sklearn", "statsmodels", "itertools", "functools", "operator", "tqdm", "nltk"),
        *("skimage", "xgboost", "catboost", "imblearn", "category_encoders", "pickle", "joblib", "os", "scikit_learn"),
        *("geopandas", "shapely", "networkx", "sympy", "patsy", "pyarrow", "urllib", "warnings", "logging", "cycler"),
    }
)
# Functions of those modules that are not like the rest.
CHANGES_FIRST = re.compile(
    r"numpy\.(fill_diagonal|put|place|copyto|putmask|put_along_axis|random\.(mtrand\.)?shuffle)|random\.shuffle|"
    r"heapq\.\w+|bisect\.insort\w*|operator\.(i[a-z]+|setitem|delitem)|builtins\.(next|setattr|delattr)|"
    r"networkx\.(set_\w+|relabel_nodes|add_\w+)|numpy\.\w+\.at"
)
HANDS_ON = re.compile(  # the result may be a view of the arguments, or one of them
    r"numpy\.(as\w+|ravel|reshape|squeeze|transpose|split|array_split|[hvd]split|atleast_\dd|expand_dims|broadcast\w*|"
    r"swapaxes|moveaxis|rollaxis|diagonal|diag|real|imag|flip\w*|rot90|nditer|ndenumerate|matrix|nan_to_num|lib\..*)|"
    r"pandas\.(DataFrame|Series|Index|Categorical)|builtins\.(min|max|iter|reversed|enumerate|getattr|memoryview|super|"
    r"list|tuple|set|dict|frozenset|sorted|zip|map|filter|vars|property|next)|itertools\..*|functools\..*|operator\..*|"
    r"collections\..*|copy\.(copy|replace)|contextlib\..*|tqdm\..*|dataclasses\..*|csv\..*|io\..*|types\..*|pathlib\..*|"
    r"warnings\.catch_warnings|argparse\..*|scipy\.sparse\..*|networkx\..*|polars\..*|enum\..*|typing\..*|json\.loads|"
    r"(sklearn|imblearn)\.(pipeline|compose|multiclass|multioutput|ensemble|calibration|feature_selection)\..*|"
    r"statsmodels\..*|joblib\.(?!load|dump).*|geopandas\..*|shapely\..*|sympy\..*|xgboost\..*|catboost\..*|skimage\..*"
)
PURE_BUILTINS = frozenset(
    {
        *("len", "sum", "min", "max", "abs", "round", "sorted", "print", "repr", "str", "int", "float", "bool", "type"),
        *(
            "isinstance",
            "issubclass",
            "hash",
            "id",
            "range",
            "enumerate",
            "zip",
            "map",
            "filter",
            "any",
            "all",
            "format",
        ),
        *("input", "ord", "chr", "divmod", "pow", "hex", "bin", "oct", "getattr", "hasattr", "dir", "callable", "iter"),
        *(
            "list",
            "tuple",
            "set",
            "dict",
            "frozenset",
            "reversed",
            "display",
            "help",
            "slice",
            "complex",
            "bytes",
            "open",
        ),
        *(
            "bytearray",
            "ascii",
            "memoryview",
            "object",
            "super",
            "property",
            "staticmethod",
            "classmethod",
            "quit",
            "exit",
        ),
        *("get_ipython", "breakpoint"),
    }
)
# Methods that change nothing, whatever well-known object has them, and whose result is new.
FRESH_METHODS = frozenset(
    """
describe info mean median mode std var sum min max count nunique unique value_counts corr cov quantile rank round
abs isnull isna notnull notna any all idxmax idxmin argmax argmin argsort cumsum cumprod cummax cummin diff
pct_change prod skew kurt kurtosis sem mad nlargest nsmallest between isin duplicated drop_duplicates dropna fillna
ffill bfill interpolate replace astype copy drop rename reset_index set_index sort_values sort_index assign merge
join melt pivot pivot_table stack unstack explode crosstab agg aggregate clip add_prefix add_suffix to_dict to_list
tolist to_string to_frame to_html to_markdown to_latex to_json to_records memory_usage equals combine_first corrwith
select_dtypes nonzero item conj clone tobytes dot searchsorted lower upper strip lstrip rstrip split rsplit
splitlines startswith endswith find rfind index format encode decode title capitalize swapcase zfill center ljust
rjust isdigit isalpha isalnum isnumeric islower isupper partition rpartition removeprefix removesuffix translate
casefold expandtabs bit_length hexdigest digest total_seconds strftime isoformat timestamp date weekday year month
day group groups groupdict start end span match search fullmatch findall sub subn union intersection difference
symmetric_difference issubset issuperset isdisjoint most_common elements predict predict_proba predict_log_proba
decision_function score score_samples transform inverse_transform staged_predict get_params get_feature_names
get_feature_names_out get_depth get_n_leaves kneighbors summary get_config count_params toarray todense tocsr tocsc
nnz exists is_file is_dir as_posix resolve absolute relative_to with_suffix with_name joinpath read_text read_bytes
glob rglob iterdir stat json dtypes cut qcut isocalendar cross_val_score pad nanmean get_dummies to_period
to_timestamp tz_localize tz_convert day_name month_name normalize to_pydatetime ngroup cumcount size sizes keys
hasnans is_unique first_valid_index last_valid_index
numel dim ndimension softmax log_softmax norm exp log sqrt square sigmoid tanh relu matmul mm bmm topk long
""".split()  # noqa: SIM905 - a list of words is read as words
)
# Methods that change nothing and whose result may be a part or a view of the object.
VIEW_METHODS = frozenset(
    {
        *("head", "tail", "get", "items", "values", "reshape", "ravel", "squeeze", "transpose", "view", "swapaxes"),
        *("iterrows", "itertuples", "groupby", "rolling", "expanding", "ewm", "resample", "to_numpy", "flatten", "xs"),
        *(
            "get_group",
            "first",
            "last",
            "nth",
            "filter",
            "where",
            "mask",
            "take",
            "loc",
            "iloc",
            "numpy",
            "detach",
            "cpu",
        ),
        *("get_loc", "get_level_values", "droplevel", "reindex", "query", "eval", "pipe", "apply", "map", "applymap"),
        *("progress_apply", "parameters", "named_parameters", "children", "modules", "state_dict"),
        *("get_booster", "named_steps", "as_matrix", "itergroups", "asfreq", "shift", "diagonal", "set_axis"),
        *("permute", "unsqueeze", "contiguous", "chunk", "expand"),
    }
)
# Methods that change their object only: what they are given is kept or copied.
SELF_METHODS = frozenset(
    {
        *("fit", "partial_fit", "fit_transform", "fit_predict", "fit_resample", "fit_sample", "set_params", "compile"),
        *("append", "extend", "insert", "update", "add", "sort", "reverse", "setdefault", "pop", "popitem", "remove"),
        *("clear", "discard", "appendleft", "extendleft", "popleft", "rotate", "shuffle", "load_weights", "build"),
        *("load_state_dict", "train", "to", "cuda", "half", "double", "requires_grad_", "seek", "write"),
        *(
            "writelines",
            "writerow",
            "writerows",
            "writeheader",
            "flush",
            "close",
            "add_argument",
            "fill",
            "resize",
            "put",
        ),
    }
)
FRESH_RESULT = frozenset({"fit_transform", "fit_predict", "fit_resample", "fit_sample"})
FRESH_ATTRIBUTES = frozenset(
    {
        *(
            "shape",
            "size",
            "ndim",
            "dtype",
            "dtypes",
            "columns",
            "index",
            "empty",
            "name",
            "names",
            "__name__",
            "device",
        ),
        *("feature_names_in_", "best_score_", "best_params_", "is_unique", "nbytes", "itemsize", "suffix", "stem"),
    }
)
ACCESSORS = frozenset({"str", "dt", "cat", "sparse"})  # pandas: whatever follows is new
PLOT_METHODS = frozenset({"plot", "hist", "boxplot", "iplot", "style", "scatter_matrix", "hvplot"})

SEEDS = re.compile(
    r"(^|\.)(seed|manual_seed|manual_seed_all|set_seed|set_random_seed|seed_everything|set_state|set_rng_state|"
    r"enable_op_determinism|set_global_seed|fix_seed|random_seed|seed_all|seed_torch|seed_worker)$"
)
DRAWS = re.compile(
    r"^(numpy\.random|random|torch\.(rand|normal|bernoulli|multinomial)|tensorflow\.random|scipy\.stats\.\w+\.rvs)"
)
DRAWS_NOTHING = frozenset(  # models of scikit-learn that never draw
    {
        *("LinearRegression", "KNeighborsClassifier", "KNeighborsRegressor", "GaussianNB", "MultinomialNB"),
        *(
            "BernoulliNB",
            "ComplementNB",
            "StandardScaler",
            "MinMaxScaler",
            "RobustScaler",
            "MaxAbsScaler",
            "Normalizer",
        ),
        *("LabelEncoder", "OneHotEncoder", "OrdinalEncoder", "LabelBinarizer", "SimpleImputer", "PolynomialFeatures"),
        *("CountVectorizer", "TfidfVectorizer", "TfidfTransformer", "HashingVectorizer", "DictVectorizer", "Binarizer"),
        *("PowerTransformer", "FunctionTransformer", "SelectKBest", "VarianceThreshold", "MultiLabelBinarizer"),
    }
)
NO_DRAW_MODULES = PLOT_MODULES | PURE_MODULES - {"sklearn", "imblearn", "xgboost", "catboost", "networkx", "skimage"}
NO_DRAW = re.compile(
    r"sklearn\.(metrics|preprocessing|pipeline|compose|impute|feature_extraction|base|utils\.validation|datasets\.load_)"
)
DRAWING_PLOTS = re.compile(
    r"seaborn\.(stripplot|catplot|regplot|lmplot|jointplot|barplot|lineplot|pointplot)|shap\.|eli5\.|lime\."
)
READS_FILES = re.compile(
    r"(^|\.)(open|read_\w+|load\w*|imread|from_file|from_pretrained|listdir|scandir|walk|glob|rglob|iterdir|fromfile|"
    r"genfromtxt|File|ZipFile|image_dataset_from_directory|flow_from_directory|ImageFolder|connect|from_csv)$"
)
WRITES_FILES = re.compile(
    r"(^|\.)(to_(csv|excel|json|parquet|pickle|feather|hdf|sql|html|latex|markdown|stata|file)|dump|dump_model|save\w*|"
    r"savetxt|savez\w*|write_\w+|imwrite|imsave|makedirs|mkdir|rename|replace_file|copyfile|copytree|copy2|move|rmtree|"
    r"remove_file|unlink|extractall|urlretrieve|download\w*|export\w*|save_pretrained|sink_\w+|touch|symlink_to)$"
)
ENVIRONMENT = re.compile(
    r"^(os\.(environ\..*|chdir|putenv|umask|system|popen)|sys\.(path\..*|setrecursionlimit|set\w+)|locale\.setlocale|"
    r"numpy\.seterr|numpy\.(set_)?errstate_|subprocess\..*|decimal\.(setcontext|getcontext.*)|socket\.setdefaulttimeout|"
    r"sklearn\.set_config|pandas\.(set_option|options\..*)|importlib\.reload|site\..*|random\.setstate)$"
)
PLOT_SETTINGS = re.compile(
    r"\.(use|set|set_\w+|rc|rcdefaults|rcParams.*|style\..*|update_default\w*|reset_defaults|templates.*)$"
)
SHOWS = re.compile(
    r"(^|\.)_*(show|plot|display|print|draw|render|view|summar|head|report|visuali|hist|bar|line|scatter|heatmap|info|"
    r"log|write|figure|title|describe|check|test|assert|inspect|explor|explain)",
    re.IGNORECASE,
)
READS_TEXT = re.compile(r"^(duckdb|pandasql|patsy|numexpr|statsmodels\.formula|timeit|pandas\.eval|polars\.sql)")
DYNAMIC = frozenset({"exec", "eval", "globals", "locals", "compile", "execfile", "run_cell", "run_line_magic", "magic"})
PASSING_DECORATORS = frozenset(
    {
        *("staticmethod", "classmethod", "property", "lru_cache", "cache", "wraps", "no_grad", "inference_mode", "jit"),
        *("njit", "function", "dataclass", "contextmanager", "abstractmethod", "cached_property", "overload", "setter"),
    }
)
SILENT_SHELL = re.compile(
    r"(cat|clear|date|df|du|echo|env|find|free|grep|head|hostname|ls|lscpu|nproc|nvidia-smi|ps|pwd|sleep|stat|tail|top|"
    r"tree|uname|uptime|wc|which|whoami)\b(?!.*>)"
)
KEEPING_MAGIC = re.compile(
    r"^[ \t]*%(?:%(?:writefile|file|script|bash|sh|sql|R|cython|ruby|perl)\b|"
    r"(?:cd|env|set_env|pushd|popd|run|store|macro|alias)\b)",
    re.MULTILINE,
)
RUNNING_MAGIC = re.compile(
    r"^[ \t]*%(?!%|matplotlib\b|config\b|(?:re)?load_ext\b|autoreload\b|pip\b|conda\b|pinfo|who|ls\b|pwd\b)",
    re.MULTILINE,
)
# They take streams, or ship their data.
TAKES_STREAM = re.compile(
    r"^(json|pickle|yaml|dill|cloudpickle|simplejson|ujson|cPickle)\.(safe_)?(load|dump)(s|_all)?$|^sklearn\.datasets\.load_|"
    r"^seaborn\.load_|(^|\.)(loads|load_state_dict|load_ext|load_dataset_names)$"
)
IMPORTED_FOR_EFFECT = re.compile(
    r"(__future__|sklearn\.experimental|tensorflow_text|unsloth|swifter|janitor|sklearnex|pandarallel|modin|cudf\.pandas|"
    r"pint_pandas|intel_extension_for_\w+|tensorflow_addons|google\.colab)\b|.*\.enable_\w+$"
)

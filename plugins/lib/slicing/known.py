"""Calls that are known to do nothing but give a value, or to draw; everything that is not named here may do anything.

Sources are the documents of Python's library, numpy, pandas, scikit-learn and matplotlib, looked up 2026-11-27.
"""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# Numbers and strings come of these when they are called with numbers, strings, containers and tables.
SCALAR_BUILTINS = words("len str repr int float bool abs round isinstance ord chr hex bin oct format callable ascii")
DATA_BUILTINS = words(
    "list tuple set dict frozenset sorted min max sum any all range divmod pow complex bytes slice type"
)
STREAM_BUILTINS = words("zip enumerate map filter reversed")  # what they give is used up by reading it
SILENT_BUILTINS = words("print display")

# The last name stands for every name of the module.
PURE = re.compile(
    r"math\.\w+|cmath\.\w+|statistics\.(mean|f?median|mode|p?stdev|p?variance)|re\.(sub|findall|match|search|split|escape)|"
    r"collections\.(Counter|OrderedDict)|datetime\.(datetime|date|timedelta|time)(\.(now|today|strptime|fromisoformat))?|"
    r"time\.(time|perf_counter|monotonic|strftime|localtime|gmtime|ctime)|string\.\w+|copy\.(copy|deepcopy)|"
    r"os\.path\.(join|basename|dirname|exists|isfile|isdir|splitext|getsize|abspath)|os\.(listdir|getcwd|sep|cpu_count)|"
    r"glob\.glob|platform\.\w+|sys\.(version|version_info|getsizeof|platform|maxsize)|textwrap\.(dedent|fill|shorten)|"
    r"IPython\.display\.(display|HTML|Markdown|Image)|IPython\.core\.display\.(display|HTML)|tabulate\.tabulate|"
    r"pprint\.pformat|itertools\.(combinations|permutations|product)|gc\.collect|"
    r"pandas\.(DataFrame|Series|Index|concat|merge|to_datetime|to_numeric|to_timedelta|get_dummies|q?cut|crosstab|melt|"
    r"pivot|pivot_table|date_range|period_range|isnull|isna|notnull|notna|unique|factorize|Timestamp|Timedelta|"
    r"Categorical|wide_to_long|NA|NaT|MultiIndex\.from_\w+|DataFrame\.from_(dict|records)|value_counts|__version__)|"
    r"sklearn\.metrics\.(?!silhouette_|make_scorer|get_scorer|(?:Roc|Precision|Confusion|Det|Prediction)\w*Display)"
    r"[a-z]\w+(?<!_display)|sklearn\.__version__|sklearn\.datasets\.load_\w+|"
    r"scipy\.stats\.(pearsonr|spearmanr|kendalltau|skew|kurtosis|zscore|norm|ttest_\w+|chi2_contingency|mode|iqr|sem|"
    r"shapiro|normaltest|f_oneway|mannwhitneyu|ks_2samp|probplot|boxcox|jarque_bera|describe)(\.(pdf|cdf|ppf|sf))?|"
    r"numpy\.(u?int\d*|float\d*|bool_?|str_|object_|pi|e|nan|inf|newaxis|NaN|NAN|__version__|r_|c_|linalg\.(norm|inv|det|"
    r"eig|eigh|svd|pinv|solve|matrix_rank))"
)
# A further position of these is the array that they write to: how many positions are read only.
_UNARY = words(
    "abs absolute sqrt square exp expm1 log log1p log2 log10 sin cos tan tanh arcsin arccos arctan sign "
    "floor ceil trunc rint isnan isinf isfinite logical_not negative degrees radians fabs reciprocal "
    "invert"
)
_BINARY = words(
    "add subtract multiply divide true_divide floor_divide power mod maximum minimum greater less equal "
    "not_equal logical_and logical_or logical_xor arctan2 hypot mean sum std var min max amin amax median "
    "prod percentile quantile nanmean nansum nanstd nanmin nanmax nanmedian nanpercentile cumsum cumprod "
    "argmin argmax argsort sort any all round around dot matmul concatenate stack vstack hstack "
    "column_stack unique count_nonzero zeros ones empty full zeros_like ones_like full_like eye identity "
    "diff corrcoef cov array asarray reshape ravel transpose tile repeat bincount digitize histogram isin "
    "in1d expand_dims squeeze argwhere nonzero where outer ptp average diag triu tril copy setdiff1d "
    "intersect1d union1d flip roll array_split split array_equal allclose isclose size shape ndim "
    "meshgrid triu_indices_from tril_indices_from triu_indices"
)
_TERNARY = words("where linspace arange interp logspace geomspace")
NUMPY = dict.fromkeys(_UNARY, 1) | dict.fromkeys(_BINARY, 2) | dict.fromkeys(_TERNARY, 3)
READERS = re.compile(r"pandas\.read_(csv|excel|json|parquet|table|feather)")

STR_METHODS = frozenset(name for name in dir(str) if not name.startswith("_"))
# Of tables, arrays and containers; the number says how many positions are surely read only.
_ONE = words(
    "max min round all any argmax argmin mean sum std var prod cumsum cumprod ptp median head tail "
    "describe info nunique unique keys values items copy tolist to_list to_numpy to_frame isnull isna "
    "notnull notna isin count mode skew kurt sem kurtosis abs transpose T ravel flatten dot argsort "
    "nonzero idxmax idxmin corr cov cummax cummin diff shift rank quantile value_counts memory_usage "
    "select_dtypes nlargest nsmallest groupby rolling expanding ewm resample agg aggregate apply map "
    "applymap transform size first last nth get_group ngroups filter get index most_common squeeze "
    "explode stack unstack duplicated infer_objects convert_dtypes equals dropna drop fillna sort_index "
    "reset_index set_index rename rename_axis reindex assign astype iterrows itertuples pivot pivot_table "
    "melt merge join corrwith combine_first isdigit strip lower upper split replace contains startswith "
    "endswith len extract findall title cat zfill slice pad day_name month_name strftime normalize "
    "to_period to_timestamp floor ceil total_seconds isocalendar union intersection difference issubset "
    "issuperset symmetric_difference sort_values drop_duplicates clip interpolate bfill ffill to_string "
    "to_dict between pct_change where mask query is_unique to_series get_level_values droplevel nanmean "
    "crosstab get_loc date isoformat weekday timestamp swapaxes repeat xs take item"
)
_TWO = words("reshape replace get sort_values pivot between xs merge join")
METHODS = dict.fromkeys(_ONE, 1) | dict.fromkeys(_TWO, 2)
STREAM_METHODS = words("iterrows itertuples")
PLOT_METHODS = words("plot hist boxplot style")
# Attributes of containers that change them when they are called: such a method may not be passed on.
CHANGERS = words(
    "append extend insert remove pop clear sort reverse update setdefault popitem add discard "
    "difference_update intersection_update symmetric_difference_update fill put itemset resize partition "
    "setflags setfield byteswap tofile dump eval query pipe appendleft popleft rotate subtract extendleft "
    "elements send throw close write"
)
SAMPLERS = words("sample")
EXPECTED_KEYS = words("inplace copy copy_X return_X_y as_frame")  # may be constants only, see `pure`
WRITING_KEYS = re.compile(
    r"out|file|buf|stream|path_or_buf|overwrite\w*|where|chunksize|iterator|filename|storage_options|cache\w*|memory|"
    r"callbacks?|warm_start|path"
)
TAKES_PLOT = words("print display len type isinstance")

PLOT_MODULES = words("matplotlib seaborn plotly missingno squarify pylab mpl_toolkits joypy altair bokeh")
PLOT_CHANGES = re.compile(
    r"regist|writ|save|to_(file|html|json|image)|load_dataset|connect|animat|callback|events|_agg|"
    r"add_timer|offline\.plot$|output_file|exec|eval|interact|__"
)
DRAWING_PLOTS = re.compile(
    r"seaborn\.(stripplot|catplot|regplot|lmplot|jointplot|barplot|lineplot|pointplot|swarmplot)"
)
# What importing seaborn registers with matplotlib, by the names that kept text would use.
SEABORN_MAPS = words("rocket mako icefire vlag flare crest rocket_r mako_r icefire_r vlag_r flare_r crest_r")

# Models whose `fit` changes nothing but themselves; those in the first list never draw.
_STEADY = (
    "LinearRegression KNeighborsClassifier KNeighborsRegressor GaussianNB MultinomialNB BernoulliNB ComplementNB "
    "StandardScaler MinMaxScaler RobustScaler MaxAbsScaler Normalizer LabelEncoder OneHotEncoder OrdinalEncoder "
    "LabelBinarizer SimpleImputer PolynomialFeatures CountVectorizer TfidfVectorizer TfidfTransformer PowerTransformer "
    "VarianceThreshold MultiLabelBinarizer Binarizer"
)
_DRAWING = (
    "LogisticRegression Ridge Lasso ElasticNet RidgeClassifier SGDClassifier SGDRegressor Perceptron LinearSVC "
    "LinearSVR SVC SVR DecisionTreeClassifier DecisionTreeRegressor RandomForestClassifier RandomForestRegressor "
    "ExtraTreesClassifier ExtraTreesRegressor GradientBoostingClassifier GradientBoostingRegressor AdaBoostClassifier "
    "AdaBoostRegressor BaggingClassifier HistGradientBoostingClassifier HistGradientBoostingRegressor MLPClassifier "
    "MLPRegressor KMeans PCA TruncatedSVD TSNE IsolationForest XGBClassifier XGBRegressor LGBMClassifier LGBMRegressor"
)
STEADY = re.compile(rf"sklearn(\.\w+)*\.({'|'.join(_STEADY.split())})")
DRAWING = re.compile(rf"(sklearn(\.\w+)*|xgboost|lightgbm)\.({'|'.join(_DRAWING.split())})")
MODEL_READS = words(
    "predict predict_proba score transform decision_function get_params predict_log_proba inverse_transform"
)
MODEL_FITS = words("fit fit_transform fit_predict")

# A notebook that names none of these has generators that nobody seeded: nobody can miss a draw.
SEEDS = re.compile(
    r"seed|RandomState|default_rng|Generator|set_state|getstate|get_state|setstate|deterministic", re.IGNORECASE
)
# Text that can reach names in ways that are not followed.
REACHES_ALL = words(
    "globals locals vars dir exec eval execfile __import__ get_ipython __main__ inspect importlib runpy "
    "builtins __builtins__ get_type_hints"
)
REACHING_ATTRIBUTES = words(
    "__dict__ __subclasses__ __globals__ __builtins__ get_objects get_referrers currentframe _getframe "
    "run_cell run_line_magic get_type_hints import_module getmembers ex ev user_ns"
)
EVALUATES = words("query eval")
LOADS_CLASSES = re.compile(
    r"load(s|_model|_pickle|_state_dict|_learner|_from_checkpoint|_all)?|Unpickler|read_pickle|restore"
)
SAFE_DECORATORS = words(
    "functools.lru_cache functools.cache contextlib.contextmanager numba.njit numba.jit "
    "dataclasses.dataclass torch.no_grad torch.inference_mode builtins.staticmethod builtins.classmethod "
    "builtins.property"
)
SAFE_BASES = re.compile(
    r"builtins\.(object|\w*(Exception|Error|Warning))|abc\.ABC|torch\.nn\.Module|torch\.utils\.data\.Dataset|"
    r"sklearn\.base\.(BaseEstimator|\w+Mixin)|torch\.nn\.modules\.module\.Module"
)
DATASET_METHODS = words("__init__ __len__ __getitem__ __call__ __repr__")

SILENT_SHELL = re.compile(
    r"(cat|clear|date|df|du|echo|env|find|free|grep|head|hostname|ls|lscpu|nproc|nvidia-smi|ps|pwd|sleep|stat|tail|top|"
    r"tree|uname|uptime|wc|which|whoami)\b(?!.*(>|-exec|-delete|\|))"
)
# Any line that begins like a magic and is none of these keeps its cell.
LOUD_MAGIC = re.compile(
    r"^[ \t]*%(?!matplotlib\b|%time\b|%timeit\b|pinfo|who|ls\b|pwd\b|config\s+InlineBackend|"
    r"load_ext\s+(autoreload|autotime|tensorboard|watermark)\b|autoreload\b)",
    re.MULTILINE,
)

PATCHERS = words("setattr patch object register_dataframe_accessor register_series_accessor register_index_accessor")
FRAME_SETTINGS = words("columns index name names")  # assigned to tables everywhere, and no methods

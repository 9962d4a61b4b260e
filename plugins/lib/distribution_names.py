"""Which distribution on PyPI provides an import: names only, each reviewed by hand (see distributions.py)."""

# `import=distribution`, or `import` alone where the distribution has that name (with - for _). Dots name the parts of
# namespace packages: the longest prefix wins. Several imports may name one distribution.
TABLE = """
# arrays, tables, statistics
numpy scipy pandas polars pyarrow duckdb dask distributed modin vaex xarray zarr numexpr numba Cython bottleneck
Bottleneck tables h5py netCDF4 fastparquet ibis=ibis-framework datatable swifter pandarallel cupy=cupy-cuda12x
cudf=cudf-cu12 cuml=cuml-cu12 sparse awkward pint uncertainties sympy mpmath networkx igraph statsmodels patsy
pingouin lifelines linearmodels pymc pymc3 arviz pystan cmdstanpy emcee corner numpyro pyro=pyro-ppl bambi
scikit_posthocs researchpy pgmpy dowhy econml causalml causalinference narwhals pandera great_expectations
janitor=pyjanitor pandasql sqldf missingno pandas_profiling ydata_profiling sweetviz dtale autoviz dataprep klib
pandas_datareader pandas_gbq pandas_ta pandas_summary tabulate prettytable openpyxl xlrd xlwt xlsxwriter=XlsxWriter
pyxlsb odf=odfpy pyreadstat pyreadr rpy2 array_api_compat

# machine learning
sklearn=scikit-learn xgboost lightgbm catboost imblearn=imbalanced-learn mlxtend category_encoders=category_encoders
feature_engine=feature_engine featuretools tsfresh boruta=Boruta eli5 shap lime interpret alibi dice_ml fairlearn
aif360 hdbscan umap=umap-learn openTSNE pacmap kmodes minisom=MiniSom pyclustering somoclu prince factor_analyzer
optuna optuna_integration hyperopt skopt=scikit-optimize bayes_opt=bayesian-optimization nevergrad ax=ax-platform
botorch gpytorch tpot autosklearn=auto-sklearn flaml supervised=mljar-supervised h2o pycaret lazypredict autogluon
autogluon.tabular=autogluon.tabular autogluon.timeseries=autogluon.timeseries
autogluon.multimodal=autogluon.multimodal autogluon.core=autogluon.core autogluon.features=autogluon.features ngboost
cubist gplearn pygam rgf=rgf_python fastFM lightfm implicit surprise=scikit-surprise recbole cornac deepctr
deepctr_torch pytorch_tabnet pytorch_tabular=pytorch_tabular tabpfn rtdl rtdl_num_embeddings scikitplot=scikit-plot
yellowbrick dtreeviz sklearn_pandas skmultilearn=scikit-multilearn skrub dirty_cat skorch river cleanlab
modAL=modAL-python snorkel pyod alibi_detect evidently treeinterpreter rulefit imodels skl2onnx onnxmltools onnx
onnxruntime sklearn_genetic deap pygad cma mealpy cvxpy cvxopt pulp=PuLP ortools pyomo=Pyomo gurobipy docplex mip
xlearn vowpalwabbit m2cgen hummingbird_ml sklearnex=scikit-learn-intelex daal4py thundersvm metric_learn libpysal
mapclassify esda spreg dcor pyemd ot=POT koolbox cir_model

# time series
prophet fbprophet pmdarima sktime darts gluonts neuralprophet statsforecast mlforecast neuralforecast
hierarchicalforecast utilsforecast kats orbit=orbit-ml tslearn pyts stumpy ruptures arch tbats tsai
pytorch_forecasting holidays workalendar convertdate lunarcalendar=LunarCalendar ta yfinance quandl=Quandl
nasdaqdatalink=nasdaq-data-link ccxt backtrader alphalens pyfolio quantstats empyrical ffn mplfinance investpy fredapi
wbdata wbgapi alpha_vantage talib=TA-Lib exchange_calendars pandas_market_calendars=pandas_market_calendars
PyEMD=EMD-signal pywt=PyWavelets filterpy pykalman hmmlearn

# deep learning: torch
torch torchvision torchaudio torchtext torchdata torchmetrics torchinfo torchsummary torchviz torchtune torchao
torchrl tensordict pytorch_lightning lightning lightning_fabric ignite=pytorch-ignite fastai fastcore fastprogress
fastbook timm segmentation_models_pytorch efficientnet_pytorch pretrainedmodels geffnet kornia einops accelerate
deepspeed bitsandbytes xformers flash_attn triton peft trl unsloth unsloth_zoo=unsloth_zoo transformers tokenizers
datasets evaluate diffusers optimum safetensors huggingface_hub=huggingface_hub hf_transfer sentence_transformers
sentencepiece setfit auto_gptq awq=autoawq vllm sglang ctransformers llama_cpp=llama-cpp-python ctranslate2 gptqmodel
lm_eval=lm_eval mamba_ssm causal_conv1d liger_kernel torch_geometric torch_scatter torch_sparse torch_cluster dgl
pytorch_metric_learning pytorch_optimizer=pytorch_optimizer torch_optimizer madgrad ranger_adabelief adabelief_pytorch
warmup_scheduler catalyst monai torchio nnunetv2 composer=mosaicml captum pytorch_grad_cam=grad-cam thop fvcore iopath
pytorchvideo ultralytics super_gradients yolov5 supervision sahi segment_anything open_clip=open_clip_torch lpips
pytorch_fid piq pytorch_msssim e2cnn escnn e3nn schnetpack torchani jaxtyping beartype hydra=hydra-core omegaconf
rotary_embedding_torch x_transformers vit_pytorch denoising_diffusion_pytorch lion_pytorch local_attention
vector_quantize_pytorch ema_pytorch torchdiffeq torchsde allennlp flair fairseq espnet speechbrain nemo=nemo_toolkit
rfdetr groundingdino=groundingdino-py basicsr gfpgan realesrgan facexlib facenet_pytorch

# deep learning: TensorFlow, JAX and others
tensorflow keras tf_keras keras_core keras_tuner kerastuner=keras-tuner keras_cv keras_nlp keras_hub
keras_applications=Keras-Applications keras_preprocessing=Keras-Preprocessing keras_self_attention keras_tqdm
keras_bert keras_radam=keras-rectified-adam keras_retinanet keras_resnet keras_ocr tensorflow_hub tensorflow_datasets
tensorflow_text tensorflow_addons tensorflow_probability tensorflow_io
tensorflow_decision_forests=tensorflow_decision_forests ydf tensorflow_model_optimization tensorflow_transform
tensorflow_data_validation tensorflow_model_analysis tensorflow_metadata tensorflow_federated tensorflow_recommenders
tensorflow_ranking tensorflow_lattice tensorflow_graphics tensorflow_gan tensorflow_quantum tensorflow_privacy
tensorflow_docs tensorflow_gnn tensorflow_cloud tensorflow_serving=tensorflow-serving-api tensorflow_similarity
tensorflow_compression tensorflow_constrained_optimization=tensorflow_constrained_optimization tensorflow_estimator
tensorflowjs tfx tfx_bsl ml_metadata tensorboard tensorboardX tensorboard_plugin_profile tensorboard_data_server
tf_agents official=tf-models-official tflite_runtime tflite_support tflite_model_maker ai_edge_litert tf2onnx tf_slim
tflearn sonnet=dm-sonnet trax mesh_tensorflow tensor2tensor tensorlayer neural_structured_learning segmentation_models
efficientnet vit_keras classification_models=image-classifiers image_classifiers spektral stellargraph deepchem gast
astunparse absl=absl-py jax jaxlib flax optax orbax=orbax-checkpoint orbax.checkpoint=orbax-checkpoint
orbax.export=orbax-export grain haiku=dm-haiku chex rlax distrax equinox diffrax jraph clu penzai treescope brax
trimesh qwix tunix=google-tunix theano=Theano pytensor aesara lasagne=Lasagne chainer mxnet paddle=paddlepaddle
paddleocr paddlenlp mindspore tinygrad autograd onnx2torch cntk openvino tensorrt pycuda ml_dtypes=ml_dtypes
opt_einsum

# reinforcement learning and games
gym gymnasium kaggle_environments stable_baselines3=stable_baselines3 sb3_contrib stable_baselines ray pettingzoo
supersuit=SuperSuit ale_py atari_py dm_control mujoco pybullet tianshou acme=dm-acme dm_env bsuite highway_env
minigrid procgen vizdoom chess luxai_s2=luxai_s2 luxai_s3 pyspiel=open_spiel d3rlpy gym_minigrid nes_py
gym_super_mario_bros retro=gym-retro pygame pyglet shimmy=Shimmy imageio_ffmpeg pyvirtualdisplay=PyVirtualDisplay

# images, video, medical
cv2=opencv-python PIL=pillow skimage=scikit-image imageio albumentations albucore imgaug tifffile imagecodecs pydicom
pylibjpeg openslide=openslide-python nibabel SimpleITK nilearn dipy itk medpy=MedPy dicomsdl gdcm=python-gdcm
ants=antspyx cellpose stardist csbdeep rasterio mahotas imagehash=ImageHash mtcnn mediapipe face_recognition dlib
deepface insightface retinaface=retina-face easyocr pytesseract tesserocr keras_cv_attention_models pycocotools lvis
ensemble_boxes cython_bbox motmetrics filetype pyvips colorthief webcolors colorama colorcet cmocean decord av moviepy
ffmpeg=ffmpeg-python vidgear pims trackpy skvideo=sk-video rembg lap turbojpeg=PyTurboJPEG simplejpeg kornia_rs
pycolmap plyfile open3d pyvista vtk point_cloud_utils pyrender k3d meshio gmsh qrcode pyzbar barcode=python-barcode
cairosvg=CairoSVG svgwrite svgpathtools skia=skia-python cairo=pycairo aggdraw wand=Wand exifread=ExifRead piexif
squarify pyefd

# audio and music
librosa soundfile sounddevice audioread resampy soxr pydub torchaudio_augmentations audiomentations
torch_audiomentations noisereduce pyworld parselmouth=praat-parselmouth python_speech_features=python_speech_features
opensmile essentia madmom mido pretty_midi=pretty_midi music21 fluidsynth=pyfluidsynth mir_eval=mir_eval
whisper=openai-whisper faster_whisper whisperx webrtcvad speech_recognition=SpeechRecognition gtts=gTTS pyttsx3
TTS=TTS jiwer samplerate julius demucs pyloudnorm birdnetlib nnAudio=nnAudio

# text and language models
nltk spacy gensim textblob wordcloud vaderSentiment=vaderSentiment langdetect langid fasttext fasttext_langdetect
stanza stanfordnlp polyglot textstat textacy pyLDAvis bertopic top2vec keybert yake rake_nltk summa sumy rouge
rouge_score sacrebleu bert_score sacremoses subword_nmt youtokentome tiktoken contractions emoji demoji emot
unidecode=Unidecode ftfy num2words inflect spellchecker=pyspellchecker symspellpy language_tool_python autocorrect
textdistance jellyfish Levenshtein=Levenshtein rapidfuzz fuzzywuzzy thefuzz editdistance polyleven pyphen syllables
spacy_langdetect scispacy medspacy jieba janome fugashi MeCab=mecab-python3 sudachipy=SudachiPy konlpy pykakasi
pymorphy2 pymorphy3 natasha razdel camel_tools indicnlp=indic-nlp-library bnlp=bnlp_toolkit pythainlp underthesea hazm
farasa=farasapy simpletransformers ktrain happytransformer seqeval sklearn_crfsuite pycrfsuite=python-crfsuite
TorchCRF torchcrf=pytorch-crf tweetnlp preprocessor=tweet-preprocessor text2emotion nrclex=NRCLex afinn textattack
nlpaug googletrans deep_translator translators wikipedia wikipediaapi=Wikipedia-API newspaper=newspaper3k goose3
trafilatura readability=readability-lxml sense2vec pyate spacytextblob lexrank gliner openai anthropic cohere
mistralai groq replicate together ollama litellm instructor dspy guidance outlines lmql tenacity backoff langchain
langchain_core langchain_community langchain_openai langchain_text_splitters langchain_google_genai
langchain_google_vertexai langchain_anthropic langchain_huggingface langchain_experimental langchain_chroma
langchain_pinecone langchain_groq langchain_ollama langchain_cohere langchain_mistralai langchain_aws langchain_tavily
langchain_classic langchain_nvidia_ai_endpoints langchainhub langgraph langsmith langserve llama_index
llama_index.core=llama-index-core llama_index.llms.openai=llama-index-llms-openai
llama_index.embeddings.openai=llama-index-embeddings-openai llama_index.llms.huggingface=llama-index-llms-huggingface
llama_index.embeddings.huggingface=llama-index-embeddings-huggingface llama_index.llms.ollama=llama-index-llms-ollama
llama_index.llms.gemini=llama-index-llms-gemini llama_index.llms.anthropic=llama-index-llms-anthropic
llama_index.vector_stores.chroma=llama-index-vector-stores-chroma
llama_index.vector_stores.faiss=llama-index-vector-stores-faiss
llama_index.vector_stores.qdrant=llama-index-vector-stores-qdrant
llama_index.embeddings.gemini=llama-index-embeddings-gemini llama_index.readers.file=llama-index-readers-file
llama_parse crewai crewai_tools autogen_agentchat semantic_kernel smolagents pydantic_ai google_adk ragas deepeval
trulens trulens_eval giskard promptflow tavily=tavily-python duckduckgo_search ddgs exa_py firecrawl=firecrawl-py
faiss=faiss-cpu chromadb pinecone qdrant_client weaviate=weaviate-client pymilvus lancedb annoy hnswlib nmslib scann
ngt usearch rank_bm25 bm25s FlagEmbedding=FlagEmbedding colbert=colbert-ai ragatouille fastembed voyageai
jinja2=Jinja2 unstructured pypdf PyPDF2=PyPDF2 pdfplumber pdfminer=pdfminer.six fitz=PyMuPDF pymupdf=PyMuPDF
pymupdf4llm camelot=camelot-py tabula=tabula-py pdf2image docx=python-docx docx2txt pptx=python-pptx docling
marker=marker-pdf ebooklib=EbookLib markdown=Markdown markdown2 markdownify html2text mistune datasketch dedupe
recordlinkage py_stringmatching=py_stringmatching faker=Faker mimesis sdv ctgan copulas gretel_client
spacy_transformers

# plots and reports
matplotlib mpl_toolkits=matplotlib pylab=matplotlib seaborn plotly plotly_express dash chart_studio cufflinks bokeh
altair vega vega_datasets=vega_datasets holoviews hvplot panel datashader geoviews folium ipyleaflet keplergl pydeck
leafmap geemap ee=earthengine-api cartopy=Cartopy mpl_toolkits.basemap=basemap pygal pyecharts plotnine ggplot
lets_plot joypy ptitprince matplotlib_venn upsetplot=UpSetPlot venn pywaffle calmap july highlight_text bar_chart_race
pySankey=pySankey adjustText=adjustText brokenaxes scienceplots=SciencePlots proplot palettable jupyterthemes
flexitext pypalettes mplcursors mplsoccer graphviz pydot pydotplus pygraphviz pyvis netgraph nxviz ete3 termcolor rich
textual streamlit gradio voila nicegui ipywidgets ipympl itables qgrid great_tables pandas_bokeh ipyvolume bqplot
pythreejs circlify ternary=python-ternary statannot statannotations yattag weasyprint fpdf=fpdf2 reportlab
dataframe_image autofeat

# maps and geography
geopandas shapely fiona pyproj rtree geopy geojson rioxarray xarray_spatial rasterstats contextily osmnx movingpandas
h3 s2sphere pygeohash geohash2 pygeos geocoder reverse_geocoder=reverse_geocoder haversine gpxpy googlemaps pycountry
pycountry_convert country_converter=country_converter timezonefinder us uszipcode pgeocode osgeo=GDAL gdal=GDAL
eccodes cfgrib cdsapi metpy=MetPy siphon pyresample satpy sentinelhub pystac pystac_client planetary_computer
stackstac torchgeo georasters momepy pysal splot pointpats earthpy verde obspy segysak

# science: chemistry, biology, physics, astronomy
rdkit openbabel=openbabel-wheel mordred chembl_webresource_client=chembl_webresource_client Bio=biopython
Bio.PDB=biopython biotite scanpy anndata scvi=scvi-tools squidpy mudata leidenalg louvain pysam pyfaidx pybedtools
cyvcf2 pydeseq2 gseapy goatools tdc=PyTDC prody=ProDy MDAnalysis=MDAnalysis mdtraj openmm pymatgen ase matminer
nglview py3Dmol=py3Dmol biopandas Bio.SeqIO=biopython RNA=ViennaRNA arnie astropy astroquery photutils lightkurve
specutils healpy galpy reproject sunpy pint_pulsar qiskit qiskit_aer pennylane=PennyLane cirq qutip mne neurokit2
heartpy biosppy wfdb pyedflib=pyEDFlib antropy yasa nolds pyphysio skbio=scikit-bio particle uproot awkward0 hepunits
pyhf control slycot do_mpc casadi gekko fipy pymunk skfuzzy=scikit-fuzzy pyswarms pyswarm simpy mesa SALib=SALib
chaospy sobol_seq=sobol_seq pyDOE=pyDOE pyDOE2=pyDOE2 thermo CoolProp=CoolProp periodictable

# Kaggle, trackers, clouds
kaggle kagglehub wandb mlflow neptune comet_ml clearml aim dvc dvclive sacred tensorboard_logger=tensorboard_logger
trackio swanlab livelossplot codecarbon bentoml zenml metaflow prefect kedro airflow=apache-airflow luigi kfp feast
hopsworks modal whylogs gdown opendatasets openml ucimlrepo aiohttp pooch wget roboflow boto3 botocore s3fs sagemaker
smexperiments=sagemaker-experiments smdebug awswrangler sagemaker_inference aiobotocore gcsfs fsspec adlfs smart_open
google.cloud.bigquery=google-cloud-bigquery google.cloud.bigquery_storage=google-cloud-bigquery-storage
google.cloud.storage=google-cloud-storage google.cloud.aiplatform=google-cloud-aiplatform
google.cloud.aiplatform_v1=google-cloud-aiplatform google.cloud.aiplatform_v1beta1=google-cloud-aiplatform
vertexai=google-cloud-aiplatform google.cloud.automl=google-cloud-automl
google.cloud.automl_v1beta1=google-cloud-automl google.cloud.vision=google-cloud-vision
google.cloud.language=google-cloud-language google.cloud.language_v1=google-cloud-language
google.cloud.speech=google-cloud-speech google.cloud.texttospeech=google-cloud-texttospeech
google.cloud.translate=google-cloud-translate google.cloud.translate_v2=google-cloud-translate
google.cloud.translate_v3=google-cloud-translate google.cloud.videointelligence=google-cloud-videointelligence
google.cloud.documentai=google-cloud-documentai google.cloud.dlp=google-cloud-dlp
google.cloud.pubsub=google-cloud-pubsub google.cloud.pubsub_v1=google-cloud-pubsub
google.cloud.firestore=google-cloud-firestore google.cloud.datastore=google-cloud-datastore
google.cloud.spanner=google-cloud-spanner google.cloud.bigtable=google-cloud-bigtable
google.cloud.secretmanager=google-cloud-secret-manager google.cloud.logging=google-cloud-logging
google.cloud.monitoring_v3=google-cloud-monitoring google.cloud.tasks=google-cloud-tasks
google.cloud.tasks_v2=google-cloud-tasks google.cloud.dataproc=google-cloud-dataproc
google.cloud.dataproc_v1=google-cloud-dataproc google.cloud.discoveryengine=google-cloud-discoveryengine
google.cloud.dialogflow=google-cloud-dialogflow google.cloud.core=google-cloud-core
google.cloud.exceptions=google-cloud-core google.cloud.functions_v1=google-cloud-functions
google.cloud.run_v2=google-cloud-run google.cloud.notebooks=google-cloud-notebooks google.cloud.kms=google-cloud-kms
google.generativeai=google-generativeai google.ai.generativelanguage=google-ai-generativelanguage
google.genai=google-genai google.adk=google-adk google.protobuf=protobuf google.auth=google-auth
google.oauth2=google-auth google.api_core=google-api-core google.api=googleapis-common-protos
google.rpc=googleapis-common-protos google.type=googleapis-common-protos google.longrunning=googleapis-common-protos
google.resumable_media=google-resumable-media google.crc32c=google-crc32c google_crc32c google_auth_oauthlib
google_auth_httplib2 googleapiclient=google-api-python-client apiclient=google-api-python-client oauth2client gspread
gspread_dataframe pygsheets pydrive=PyDrive pydrive2=PyDrive2 firebase_admin apache_beam grpc=grpcio
grpc_tools=grpcio-tools hypertune=cloudml-hypertune xmanager google_cloud_pipeline_components
azure.storage.blob=azure-storage-blob azure.storage.filedatalake=azure-storage-file-datalake
azure.storage.queue=azure-storage-queue azure.identity=azure-identity azure.core=azure-core azure.ai.ml=azure-ai-ml
azure.ai.inference=azure-ai-inference azure.ai.projects=azure-ai-projects
azure.ai.formrecognizer=azure-ai-formrecognizer azure.ai.textanalytics=azure-ai-textanalytics
azure.ai.documentintelligence=azure-ai-documentintelligence azure.ai.evaluation=azure-ai-evaluation
azure.keyvault.secrets=azure-keyvault-secrets azure.cosmos=azure-cosmos azure.search.documents=azure-search-documents
azure.kusto.data=azure-kusto-data azure.eventhub=azure-eventhub azure.servicebus=azure-servicebus
azure.data.tables=azure-data-tables azure.functions=azure-functions
azure.cognitiveservices.speech=azure-cognitiveservices-speech
azure.cognitiveservices.vision.computervision=azure-cognitiveservices-vision-computervision
azure.cognitiveservices.vision.customvision=azure-cognitiveservices-vision-customvision
azure.cognitiveservices.vision.face=azure-cognitiveservices-vision-face
azure.cognitiveservices.language.textanalytics=azure-cognitiveservices-language-textanalytics
azureml.core=azureml-core azureml.train.automl=azureml-train-automl azureml.widgets=azureml-widgets
azureml.dataprep=azureml-dataprep azureml.opendatasets=azureml-opendatasets azureml.pipeline=azureml-pipeline
azureml.mlflow=azureml-mlflow azureml.interpret=azureml-interpret msrest opencensus.ext.azure=opencensus-ext-azure
ibm_watson ibm_watson_machine_learning ibm_watsonx_ai ibm_boto3=ibm-cos-sdk databricks.sql=databricks-sql-connector
databricks.sdk=databricks-sdk databricks.koalas=koalas

# data bases and big data
prestodb=presto-python-client pyspark delta=delta-spark sparknlp=spark-nlp findspark sedona=apache-sedona pyhive=PyHive
impala=impyla
sqlalchemy=SQLAlchemy sqlmodel psycopg2=psycopg2-binary psycopg asyncpg MySQLdb=mysqlclient pymysql=PyMySQL
mysql=mysql-connector-python mysql.connector=mysql-connector-python pyodbc pymssql cx_Oracle=cx_Oracle oracledb
sqlite_utils aiosqlite pymongo motor bson=pymongo redis cassandra=cassandra-driver elasticsearch
opensearchpy=opensearch-py neo4j py2neo influxdb influxdb_client clickhouse_driver clickhouse_connect trino
snowflake.connector=snowflake-connector-python snowflake.snowpark=snowflake-snowpark-python
snowflake.sqlalchemy=snowflake-sqlalchemy snowflake.ml=snowflake-ml-python teradatasql teradataml hdfs happybase
kafka=kafka-python confluent_kafka pika celery pyhdb hdbcli deltalake pyiceberg tinydb peewee connectorx
adbc_driver_postgresql sqlglot sqlparse plyvel lmdb leveldb rocksdict diskcache joblib cloudpickle dill pickle5
msgpack ujson orjson simplejson jsonlines ijson jmespath jsonschema zstandard lz4 blosc snappy=python-snappy
brotli=Brotli py7zr rarfile patoolib=patool unrar avro fastavro protobuf_to_dict=protobuf3-to-dict

# the web
requests requests_html requests_toolbelt requests_cache requests_oauthlib httpx urllib3 certifi charset_normalizer
chardet idna httplib2 websocket=websocket-client websockets bs4=beautifulsoup4 lxml html5lib scrapy=Scrapy selenium
playwright mechanize pyquery parsel webdriver_manager cloudscraper fake_useragent undetected_chromedriver feedparser
tweepy snscrape twint praw psaw pmaw pytube pytubefix yt_dlp youtube_dl=youtube_dl youtube_transcript_api
facebook_scraper google_play_scraper app_store_scraper spotipy lyricsgenius pytrends telegram=python-telegram-bot
telethon=Telethon discord=discord.py slack_sdk twilio stripe github=PyGithub git=GitPython gitlab=python-gitlab jira
notion_client sendgrid flask=Flask flask_cors=Flask-Cors flask_ngrok flask_restful=Flask-RESTful
flask_sqlalchemy=Flask-SQLAlchemy werkzeug=Werkzeug fastapi starlette uvicorn gunicorn django=Django
rest_framework=djangorestframework tornado sanic bottle aiofiles nest_asyncio pyngrok ngrok mangum functions_framework
sse_starlette jose=python-jose passlib bcrypt jwt=PyJWT authlib=Authlib msal paramiko fabric

# everyday Python
yaml=PyYAML ruamel.yaml=ruamel.yaml toml tomli tomli_w tomlkit dotenv=python-dotenv decouple=python-decouple environs
box=python-box munch addict easydict ml_collections=ml_collections configobj fire click typer docopt argcomplete tqdm
tqdm_joblib progressbar=progressbar2 alive_progress loguru structlog colorlog icecream dateutil=python-dateutil pytz
tzlocal pendulum arrow dateparser humanize ciso8601 attr=attrs attrs cattrs pydantic pydantic_settings marshmallow
cerberus=Cerberus typing_extensions=typing_extensions six future past=future more_itertools toolz cytoolz funcy
boltons sortedcontainers bidict frozendict multipledispatch wrapt decorator cachetools deprecated=Deprecated packaging
pkg_resources=setuptools setuptools wheel pip psutil GPUtil=GPUtil gpustat pynvml=nvidia-ml-py py3nvml pyperclip
pyautogui=PyAutoGUI pynput keyboard serial=pyserial usb=pyusb magic=python-magic xxhash mmh3 murmurhash
farmhash=pyfarmhash bitarray bitstring gmpy2 Crypto=pycryptodome Cryptodome=pycryptodomex cryptography nacl=PyNaCl rsa
ecdsa OpenSSL=pyOpenSSL gnupg=python-gnupg zmq=pyzmq dns=dnspython tldextract user_agents ua_parser phonenumbers
slugify=python-slugify shortuuid nanoid validators IPython ipykernel jupyter_client=jupyter_client
jupyter_core=jupyter_core notebook nbformat nbconvert nbclient nbdev papermill jupytext scrapbook ipytest jupyter_dash
ipyparallel line_profiler=line_profiler memory_profiler pyinstrument pympler=Pympler watermark pytest hypothesis mypy
ruff black isort flake8 pylint coverage mock parameterized testbook pexpect sh plumbum watchdog schedule
apscheduler=APScheduler retry retrying timeout_decorator func_timeout pebble=Pebble loky multiprocess pathos ppft
regex pyparsing parso lark ply parse xmltodict untangle dicttoxml defusedxml cssselect soupsieve pygments=Pygments
docutils sphinx=Sphinx cffi pybind11 nanobind cppyy jpype=jpype1 py4j pybind11_stubgen cached_property pathlib2
appdirs platformdirs filelock portalocker send2trash=Send2Trash natsort randomname pypinyin opencc=OpenCC zhconv
hanziconv gitdb lazy_loader=lazy_loader pyfiglet cowsay currency_converter=CurrencyConverter forex_python sparklines
plotext pyserde dacite yacs simple_parsing tyro jsonargparse treelib anytree rustworkx community=python-louvain cdlib
karateclub node2vec ripser gudhi persim kmapper gtda=giotto-tda tadasets
"""

"""Tokens of machine learning services: model APIs, hubs, experiment trackers, vector stores, notebook hosts.

The columns are parted by two spaces or more. PREFIXED: kind, variable that should hold it, title, form. NEARBY has the
vendor's words before the form: they stand at most 40 characters before the token. A form is RE2; rules.py reads both.
"""

PREFIXED = r"""
# Hugging Face: huggingface.co/docs/hub/security-tokens (34 letters and digits; organisations had api_org_)
huggingface-token  HF_TOKEN  Hugging Face token  hf_[A-Za-z0-9]{34,40}  check=unworded
huggingface-org-token  HF_TOKEN  Hugging Face organisation token  api_org_[A-Za-z0-9]{34}  check=unworded
# OpenAI: platform.openai.com/docs/api-reference/authentication (T3BlbkFJ is base64 of "OpenAI")
openai-project-key  OPENAI_API_KEY  OpenAI project key  sk-proj-[\w-]{40,250}
openai-service-key  OPENAI_API_KEY  OpenAI service account key  sk-(?:svcacct|service|None)-[\w-]{40,250}
openai-admin-key  OPENAI_ADMIN_KEY  OpenAI admin key  sk-admin-[\w-]{40,250}
openai-key  OPENAI_API_KEY  OpenAI key  sk-(?:[A-Za-z0-9_-]{16,100}T3BlbkFJ[A-Za-z0-9_-]{16,100}|[A-Za-z0-9]{40,64})
openai-session-key  OPENAI_API_KEY  OpenAI session key  sess-[A-Za-z0-9]{40}
# DeepSeek: api-docs.deepseek.com; DashScope keys have the same form
deepseek-key  DEEPSEEK_API_KEY  DeepSeek key  sk-[0-9a-f]{32}
# Anthropic: docs.anthropic.com/en/api (keys, admin keys, OAuth access and refresh tokens)
anthropic-key  ANTHROPIC_API_KEY  Anthropic key  sk-ant-api0[0-3]-[\w-]{80,130}
anthropic-admin-key  ANTHROPIC_ADMIN_KEY  Anthropic admin key  sk-ant-admin\d\d-[\w-]{80,130}
anthropic-oauth-token  ANTHROPIC_AUTH_TOKEN  Anthropic OAuth token  sk-ant-(?:oat|ort|sid)\d\d-[\w-]{60,130}
# The other model hosts, each from its own page on authentication
openrouter-key  OPENROUTER_API_KEY  OpenRouter key  sk-or-(?:v\d-)?[0-9a-f]{64}
litellm-key  LITELLM_API_KEY  LiteLLM virtual key  sk-litellm-[\w-]{20,80}
langfuse-secret-key  LANGFUSE_SECRET_KEY  Langfuse secret key  sk-lf-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
langsmith-key  LANGSMITH_API_KEY  LangSmith key  ls(?:v2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}|__[0-9a-f]{32})
    words=lsv2_,ls__
groq-key  GROQ_API_KEY  Groq key  gsk_[A-Za-z0-9]{48,56}
xai-key  XAI_API_KEY  xAI key  xai-[A-Za-z0-9_]{70,90}
perplexity-key  PERPLEXITY_API_KEY  Perplexity key  pplx-[A-Za-z0-9]{40,56}
fireworks-key  FIREWORKS_API_KEY  Fireworks key  fw_[A-Za-z0-9]{22,32}  check=random
together-key  TOGETHER_API_KEY  Together AI key  tgp_v1_[\w-]{40,50}
replicate-token  REPLICATE_API_TOKEN  Replicate token  r8_[A-Za-z0-9]{37,40}
cerebras-key  CEREBRAS_API_KEY  Cerebras key  csk-[a-z0-9]{40,60}
nvidia-key  NVIDIA_API_KEY  NVIDIA key  nvapi-[\w-]{60,80}
novita-key  NOVITA_API_KEY  Novita key  sk_[A-Za-z0-9_]{20,24}_[A-Za-z0-9_-]{40,48}  check=random
elevenlabs-key  ELEVENLABS_API_KEY  ElevenLabs key  sk_[0-9a-f]{48}
voyage-key  VOYAGE_API_KEY  Voyage AI key  pa-[\w-]{43}  check=random
jina-key  JINA_API_KEY  Jina AI key  jina_[0-9a-f]{32}[\w-]{28}
tavily-key  TAVILY_API_KEY  Tavily key  tvly-(?:(?:dev|prod)-)?[A-Za-z0-9-]{20,60}
firecrawl-key  FIRECRAWL_API_KEY  Firecrawl key  fc-[0-9a-f]{32}
llamacloud-key  LLAMA_CLOUD_API_KEY  LlamaCloud key  llx-[A-Za-z0-9]{40,60}
braintrust-key  BRAINTRUST_API_KEY  Braintrust key  sk-bt-[A-Za-z0-9]{40,60}
e2b-key  E2B_API_KEY  E2B key  e2b_[0-9a-f]{40}
modal-token  MODAL_TOKEN_SECRET  Modal token  a[sk]-[A-Za-z0-9]{22}  words=as-,ak-  check=random
runpod-key  RUNPOD_API_KEY  RunPod key  rpa_[A-Z0-9]{30,50}[a-z0-9]{0,8}
salad-key  SALAD_API_KEY  SaladCloud key  salad_cloud_\w{20,60}
friendli-token  FRIENDLI_TOKEN  Friendli token  flp_[A-Za-z0-9]{40,60}
# Kaggle: kaggle.com/docs/api (kaggle.json has 32 hexadecimal digits, newer tokens begin with KGAT_)
kaggle-token  KAGGLE_API_TOKEN  Kaggle API token  KGAT_[A-Za-z0-9]{24,64}
# Weights & Biases: docs.wandb.ai (older keys have 40 hexadecimal digits and no prefix)
wandb-token  WANDB_API_KEY  Weights & Biases key  wandb_v1_\w{30,120}
# Neptune: docs.neptune.ai (base64 of {"api_address": ...)
neptune-token  NEPTUNE_API_TOKEN  Neptune token  eyJhcGlf[A-Za-z0-9+/_-]{60,400}={0,2}
polyaxon-token  POLYAXON_AUTH_TOKEN  Polyaxon token  plx_[A-Za-z0-9]{32,60}
pinecone-key  PINECONE_API_KEY  Pinecone key  pcsk_[A-Za-z0-9]{5,8}_[A-Za-z0-9]{50,70}
mapbox-token  MAPBOX_ACCESS_TOKEN  Mapbox token  [ps]k\.(?:eyJ[\w-]{20,200}|[a-z0-9]{60})\.[\w-]{20,30}  words=pk.,sk.
databricks-token  DATABRICKS_TOKEN  Databricks token  dapi[0-9a-f]{32}(?:-\d)?
databricks-secret  DATABRICKS_CLIENT_SECRET  Databricks OAuth secret  dose[0-9a-f]{32}
prefect-key  PREFECT_API_KEY  Prefect key  pn[ubt]_[A-Za-z0-9]{36}  words=pnu_,pnb_,pnt_
dagster-token  DAGSTER_CLOUD_API_TOKEN  Dagster token  (?:user|agent):[a-z0-9-]{3,40}:[0-9a-f]{32}  words=user:,agent:
posthog-key  POSTHOG_API_KEY  PostHog key  ph[cxs]_[A-Za-z0-9]{40,50}  words=phc_,phx_,phs_
"""

NEARBY = r"""
# Kaggle, Weights & Biases, Comet, Cohere, Azure OpenAI: no prefix, so length and alphabet beside the vendor's name
kaggle-key  KAGGLE_KEY  Kaggle API key  kaggle  [0-9a-f]{32}
wandb-key  WANDB_API_KEY  Weights & Biases key  wandb,weights & biases,weights and biases  [0-9a-f]{40}
cohere-key  COHERE_API_KEY  Cohere key  cohere,co_api_key  [A-Za-z0-9]{40}
azure-openai-key  AZURE_OPENAI_API_KEY  Azure OpenAI key  azure,openai.api,cognitive,aoai  [0-9a-f]{32}
azure-ai-key  AZURE_OPENAI_API_KEY  Azure AI key  azure,openai.api,cognitive,aoai  [A-Za-z0-9]{84}
mistral-key  MISTRAL_API_KEY  Mistral key  mistral  [A-Za-z0-9]{32}
together-api-key  TOGETHER_API_KEY  Together AI key  together_api,together.api,togetherai  [0-9a-f]{64}
ai21-key  AI21_API_KEY  AI21 key  ai21  [A-Za-z0-9]{32}
stability-key  STABILITY_API_KEY  Stability AI key  stability,dreamstudio  sk-[A-Za-z0-9]{48}
deepgram-key  DEEPGRAM_API_KEY  Deepgram key  deepgram  [0-9a-f]{40}
assemblyai-key  ASSEMBLYAI_API_KEY  AssemblyAI key  assemblyai,assembly_ai,aai.  [0-9a-f]{32}
elevenlabs-api-key  ELEVENLABS_API_KEY  ElevenLabs key  elevenlabs,eleven_labs,xi-api-key,xi_api_key  [0-9a-f]{32}
roboflow-key  ROBOFLOW_API_KEY  Roboflow key  roboflow  [A-Za-z0-9]{20}
clarifai-key  CLARIFAI_PAT  Clarifai token  clarifai  [0-9a-f]{32}
comet-key  COMET_API_KEY  Comet key  comet_api,comet_ml,comet-ml,comet.ml,comet-api,cometml  [A-Za-z0-9]{25}
clearml-secret-key  CLEARML_API_SECRET_KEY  ClearML secret key  clearml,trains_api,secret_key  [A-Za-z0-9]{50,80}
dagshub-token  DAGSHUB_USER_TOKEN  DagsHub token  dagshub,mlflow_tracking_password  [0-9a-f]{40}
ngrok-token  NGROK_AUTHTOKEN  ngrok token  ngrok,authtoken,auth_token  [12][A-Za-z0-9]{20,30}_[A-Za-z0-9]{20,24}
pinecone-uuid-key  PINECONE_API_KEY  Pinecone key  pinecone  UUID
weaviate-key  WEAVIATE_API_KEY  Weaviate key  weaviate,wcs_api,wcd_api  [A-Za-z0-9]{36,60}
qdrant-key  QDRANT_API_KEY  Qdrant key  qdrant  [\w-]{36,60}
scale-key  SCALE_API_KEY  Scale AI key  scale_api,scaleapi  (?:live|test)_[0-9a-f]{32}
labelbox-key  LABELBOX_API_KEY  Labelbox key  labelbox  [\w-]{24,40}
label-studio-token  LABEL_STUDIO_API_KEY  Label Studio token  label_studio,label-studio,labelstudio  [0-9a-f]{40}
lambda-labs-key  LAMBDA_API_KEY  Lambda key  lambda_api,lambdalabs  [\w-]{20,60}\.[\w-]{20,60}
vast-key  VAST_API_KEY  Vast.ai key  vast.ai,vastai,vast_api  [0-9a-f]{64}
paperspace-key  PAPERSPACE_API_KEY  Paperspace key  paperspace,gradient_api  [0-9a-f]{30}
baseten-key  BASETEN_API_KEY  Baseten key  baseten  [A-Za-z0-9]{8}\.[A-Za-z0-9]{32}
serpapi-key  SERPAPI_API_KEY  SerpApi key  serpapi,serp_api  [0-9a-f]{64}
serper-key  SERPER_API_KEY  Serper key  serper  [0-9a-f]{40}
brave-key  BRAVE_API_KEY  Brave Search key  brave_api,brave_search,x-subscription-token  BSA[\w-]{27,30}
exa-key  EXA_API_KEY  Exa key  exa_api,exa_py,exa(  UUID
wolfram-app-id  WOLFRAM_ALPHA_APPID  Wolfram Alpha app id  wolfram  [A-Z0-9]{6}-[A-Z0-9]{10}
# Data sources that notebooks read
plotly-key  PLOTLY_API_KEY  Plotly key  plotly,sign_in,set_credentials_file  [A-Za-z0-9]{20}
reddit-secret  REDDIT_CLIENT_SECRET  Reddit client secret  praw,reddit  [\w-]{27,30}
quandl-key  QUANDL_API_KEY  Quandl key  quandl,nasdaqdatalink,nasdaq_data_link  [\w-]{20}
alphavantage-key  ALPHAVANTAGE_API_KEY  Alpha Vantage key  alphavantage,alpha_vantage,alpha vantage  [A-Z0-9]{16}
tushare-token  TUSHARE_TOKEN  Tushare token  tushare,pro_api,ts.set_token  [0-9a-f]{56}
newsapi-key  NEWSAPI_KEY  NewsAPI key  newsapi,news_api  [0-9a-f]{32}
alpaca-key  APCA_API_KEY_ID  Alpaca key id  alpaca,apca  [PAC]K[A-Z0-9]{18}
alpaca-secret  APCA_API_SECRET_KEY  Alpaca secret  alpaca,apca  [A-Za-z0-9]{40}
binance-key  BINANCE_API_KEY  Binance key  binance  [A-Za-z0-9]{64}
openweather-key  OPENWEATHER_API_KEY  OpenWeather key  openweather,open_weather,owm  [0-9a-f]{32}
fred-key  FRED_API_KEY  FRED key  fredapi,fred_api,stlouisfed,fred(  [0-9a-f]{32}
polygon-key  POLYGON_API_KEY  Polygon key  polygon_api,polygon.io,polygonapi  [A-Za-z0-9_]{32}
finnhub-key  FINNHUB_API_KEY  Finnhub key  finnhub  [a-z0-9]{20,40}
tiingo-key  TIINGO_API_KEY  Tiingo key  tiingo  [0-9a-f]{40}
eia-key  EIA_API_KEY  EIA key  eia_api,api.eia.gov  [A-Za-z0-9]{40}
census-key  CENSUS_API_KEY  US Census key  census  [0-9a-f]{40}
nasa-key  NASA_API_KEY  NASA key  api.nasa.gov,nasa_api  [A-Za-z0-9]{40}
planet-key  PLANET_API_KEY  Planet key  planet_api,pl_api_key,planet.com  (?:PLAK)?[0-9a-f]{32}
"""

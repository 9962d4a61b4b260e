"""Credentials of clouds, identity providers and networks. Columns: rules_ml.py."""

PREFIXED = r"""
# AWS: docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html (unique prefixes; base32 without 0 1 8 9)
aws-access-key  AWS_ACCESS_KEY_ID  AWS access key id  (?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}
    words=A3T,AKIA,ASIA,ABIA,ACCA  check=aws
aws-mws-token  MWS_AUTH_TOKEN  Amazon MWS token  amzn\.mws\.[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}
aws-bedrock-key  AWS_BEARER_TOKEN_BEDROCK  Amazon Bedrock key  ABSK[A-Za-z0-9+/]{60,300}={0,2}
aws-bedrock-short-key  AWS_BEARER_TOKEN_BEDROCK  Amazon Bedrock key  bedrock-api-key-YmVkcm9jay[A-Za-z0-9+/=]{20,}
aws-session-token  AWS_SESSION_TOKEN  AWS session token
    (?:FwoGZXIvYXdz|IQoJb3JpZ2lu|FQoGZXIvYXdz|FQoDYXdz)[A-Za-z0-9+/=]{100,}
    words=FwoGZXIvYXdz,IQoJb3JpZ2lu,FQoGZXIvYXdz,FQoDYXdz
amazon-oauth-secret  AMAZON_CLIENT_SECRET  Login with Amazon secret  amzn1\.oa2-cs\.v1\.[0-9a-f]{64}
# Google: cloud.google.com/docs/authentication/api-keys, developers.google.com/identity/protocols/oauth2
google-api-key  GOOGLE_API_KEY  Google API key  AIza[\w-]{35}
google-oauth-secret  GOOGLE_CLIENT_SECRET  Google OAuth secret  GOCSPX-[\w-]{28}
google-access-token  GOOGLE_ACCESS_TOKEN  Google access token  ya29\.[\w-]{30,1000}
google-refresh-token  GOOGLE_REFRESH_TOKEN  Google refresh token  1//0[\w-]{40,200}
google-auth-code  GOOGLE_AUTH_CODE  Google authorisation code  4/0A[\w-]{60,100}
google-hmac-key  GCS_HMAC_ID  Google Cloud Storage HMAC id  GOOG1?[A-Z0-9]{20,60}  check=random
firebase-server-key  FCM_SERVER_KEY  Firebase server key  AAAA[\w-]{7}:[\w-]{140}
# Azure: learn.microsoft.com (client secrets hold Q~; keys that end in a service's signature)
azure-client-secret  AZURE_CLIENT_SECRET  Microsoft Entra client secret  [\w.~-]{3}\dQ~[\w.~-]{31,34}  words=q~
    reach=around
azure-openai-token  AZURE_OPENAI_API_KEY  Azure AI key  [A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}  words=jqqj99  reach=around
azure-storage-key  AZURE_STORAGE_KEY  Azure storage key  [A-Za-z0-9+/]{76}\+ASt[A-Za-z0-9+/]{6}==  words=+ast
    reach=around
azure-function-key  AZURE_FUNCTION_KEY  Azure Functions key  [\w-]{44}AzFu[A-P][\w-]{7}={0,2}  words=azfu  reach=around
azure-search-key  AZURE_SEARCH_KEY  Azure AI Search key  [A-Za-z0-9]{42}AzSe[A-D][A-Za-z0-9]{5}  words=azse
    reach=around
azure-cosmos-key  COSMOS_KEY  Azure Cosmos DB key  [A-Za-z0-9+/]{76}ACDb[A-Za-z0-9+/]{6}==  words=acdb  reach=around
azure-redis-key  REDIS_PASSWORD  Azure Cache for Redis key  [A-Za-z0-9]{33}AzCa[A-P][A-Za-z0-9]{5}=  words=azca
    reach=around
azure-service-bus-key  SERVICE_BUS_KEY  Azure Service Bus key  [A-Za-z0-9+/]{33}\+AS[bB][A-P][A-Za-z0-9+/]{5}=
    words=+asb  reach=around
azure-event-hub-key  EVENT_HUB_KEY  Azure Event Hubs key  [A-Za-z0-9+/]{33}\+AEh[A-P][A-Za-z0-9+/]{5}=  words=+aeh
    reach=around
azure-registry-key  ACR_PASSWORD  Azure Container Registry password  [A-Za-z0-9+/]{42}\+ACR[A-D][A-Za-z0-9+/]{5}
    words=+acr  reach=around
# Others, each from its own page on tokens
alibaba-access-key  ALIBABA_CLOUD_ACCESS_KEY_ID  Alibaba Cloud access key id  LTAI[A-Za-z0-9]{12,24}  check=random
tencent-secret-id  TENCENTCLOUD_SECRET_ID  Tencent Cloud secret id  AKID[A-Za-z0-9]{32}
digitalocean-token  DIGITALOCEAN_TOKEN  DigitalOcean token  do[opr]_v1_[0-9a-f]{64}  words=doo_v1_,dop_v1_,dor_v1_
cloudflare-origin-key  CLOUDFLARE_ORIGIN_CA_KEY  Cloudflare origin CA key  v1\.0-[0-9a-f]{24}-[0-9a-f]{146}
cloudflare-token  CLOUDFLARE_API_TOKEN  Cloudflare token  cf(?:ut|k|at)_[A-Za-z0-9_-]{40,60}  words=cfut_,cfk_,cfat_
scaleway-access-key  SCALEWAY_ACCESS_KEY  Scaleway access key  SCW[A-Z0-9]{17}
yandex-api-key  YANDEX_API_KEY  Yandex Cloud API key  AQVN[\w-]{35,38}
yandex-iam-token  YANDEX_IAM_TOKEN  Yandex Cloud IAM token  t1\.[A-Za-z0-9_-]+={0,2}\.[\w-]{86}={0,2}
yandex-aws-key  YANDEX_SECRET_KEY  Yandex Cloud static secret  YC[\w-]{38}  check=random
yandex-oauth-token  YANDEX_OAUTH_TOKEN  Yandex OAuth token  y[0-6]_[\w-]{50,60}  words=y0_,y1_,y2_,y3_,y4_,y5_,y6_
exoscale-key  EXOSCALE_API_KEY  Exoscale key  EXO[0-9a-f]{24}
ubidots-token  UBIDOTS_TOKEN  Ubidots token  BBFF-[A-Za-z0-9]{30}
clickhouse-key  CLICKHOUSE_CLOUD_KEY  ClickHouse Cloud key  4b1d[A-Za-z0-9]{38}
aiven-password  AIVEN_TOKEN  Aiven service password  AVNS_[\w-]{19,30}
flutterwave-secret-key  FLW_SECRET_KEY  Flutterwave key  FLW(?:PUB|SEC)K_(?:TEST|LIVE)-[0-9a-hA-H]{12,32}(?:-X)?
    words=FLWPUBK_,FLWSECK_
adobe-client-secret  ADOBE_CLIENT_SECRET  Adobe client secret  p8e-[\w-]{32}
"""

NEARBY = r"""
aws-secret-key  AWS_SECRET_ACCESS_KEY  AWS secret access key
    aws,amazon,secret_access_key,secretaccesskey,secret access key,boto,s3,access_key,accesskey,akia,asia
    [A-Za-z0-9/+]{40}  check=aws_secret
google-client-secret  GOOGLE_CLIENT_SECRET  Google OAuth secret  google_client,client_secret,client-secret  [\w-]{24}
azure-client-secret-legacy  AZURE_CLIENT_SECRET  Microsoft Entra client secret
    azure,client_secret,client-secret,clientsecret,tenant  [A-Za-z0-9\-_~.+=/@:?\[\]]{31,34}={0,1}  check=strong
azure-subscription-key  AZURE_SUBSCRIPTION_KEY  Azure subscription key
    ocp-apim-subscription-key,subscription_key,subscription-key,subscriptionkey  [0-9a-f]{32}
azure-devops-token  AZURE_DEVOPS_TOKEN  Azure DevOps token  azure,az_,devops,visualstudio,tfs,vsts  [a-z2-7]{52}
azure-storage-account-key  AZURE_STORAGE_KEY  Azure storage key  azure,accountkey,account_key  [A-Za-z0-9+/]{86}==
alibaba-secret-key  ALIBABA_CLOUD_ACCESS_KEY_SECRET  Alibaba Cloud secret  alibaba,aliyun,ltai,oss2  [A-Za-z0-9]{30}
tencent-secret-key  TENCENTCLOUD_SECRET_KEY  Tencent Cloud secret key  tencent,qcloud,akid  [A-Za-z0-9]{32}
huawei-secret-key  HUAWEI_SECRET_KEY  Huawei Cloud secret key  huawei  [A-Za-z0-9]{40}
ibm-cloud-api-key  IBM_CLOUD_API_KEY  IBM Cloud API key  ibm,watson,bluemix,cloud_iam,cloud-iam,softlayer,iam_api,wml
    [A-Za-z0-9_-]{44}
softlayer-key  SOFTLAYER_API_KEY  SoftLayer key  softlayer,sl_api,sl_key,sl-key,sl-api,sl_  [a-z0-9]{64}
ibm-cos-secret  IBM_COS_SECRET  IBM Cloud Object Storage secret  cos_hmac,cos-hmac,secret_access,secret-access,cos_
    [0-9a-f]{48}
cloudant-password  CLOUDANT_PASSWORD  Cloudant password  cloudant,cl_pass,cl_pwd,cl_key  (?:[0-9a-f]{64}|[a-z]{24})
cloudflare-global-key  CLOUDFLARE_API_KEY  Cloudflare global key  cloudflare,cf_api,x-auth-key,cf_key,cf-api
    [0-9a-f]{37}
cloudflare-api-token  CLOUDFLARE_API_TOKEN  Cloudflare token  cloudflare,cf_api,cf_token,cf-api  [A-Za-z0-9_-]{40}
fastly-token  FASTLY_API_TOKEN  Fastly token  fastly  [\w=-]{32}
linode-api-token  LINODE_TOKEN  Linode token  linode  [0-9a-f]{64}
vultr-key  VULTR_API_KEY  Vultr key  vultr  [A-Z0-9]{36}
hetzner-token  HCLOUD_TOKEN  Hetzner Cloud token  hcloud,hetzner  [A-Za-z0-9]{64}
scaleway-secret  SCW_SECRET_KEY  Scaleway secret key  scaleway,scw_  UUID
digitalocean-legacy-token  DIGITALOCEAN_TOKEN  DigitalOcean token  digitalocean,digital_ocean,do_token,do_api
    [0-9a-f]{64}
digitalocean-spaces-secret  SPACES_SECRET_KEY  DigitalOcean Spaces secret  digitaloceanspaces,spaces_secret
    [A-Za-z0-9/+]{43}
okta-api-token  OKTA_API_TOKEN  Okta token  okta,ssws  00[\w=-]{39,40}
auth0-client-secret  AUTH0_CLIENT_SECRET  Auth0 client secret  auth0  [A-Za-z0-9_-]{64}
auth0-client-id  AUTH0_CLIENT_ID  Auth0 client id  auth0  [A-Za-z0-9_-]{32}
onelogin-secret  ONELOGIN_CLIENT_SECRET  OneLogin client secret  onelogin  [0-9a-f]{64}
jumpcloud-key  JUMPCLOUD_API_KEY  JumpCloud key  jumpcloud  [A-Za-z0-9]{40}
zerotier-token  ZEROTIER_TOKEN  ZeroTier token  zerotier  [A-Za-z0-9]{32}
supabase-service-key  SUPABASE_KEY  Supabase service key  supabase  sb[pr]_[\w-]{20,60}
upstash-token  UPSTASH_TOKEN  Upstash token  upstash  [A-Za-z0-9=_-]{50,100}
elastic-cloud-key  ELASTIC_API_KEY  Elastic API key  elastic,es_api  [A-Za-z0-9+/_=-]{56,64}
splunk-token  SPLUNK_TOKEN  Splunk token  splunk,hec_token  UUID
shodan-key  SHODAN_API_KEY  Shodan key  shodan  [A-Za-z0-9]{32}
virustotal-key  VIRUSTOTAL_API_KEY  VirusTotal key  virustotal,virus_total,vt_api,vt_key  [0-9a-f]{64}
censys-secret  CENSYS_API_SECRET  Censys secret  censys  [A-Za-z0-9]{32}
"""

"""Tokens of code hosts, package registries, build services and developers' tools. Columns: rules_ml.py."""

PREFIXED = r"""
# GitHub: github.blog/2021-04-05-behind-githubs-new-authentication-token-formats (last six characters: CRC32)
github-token  GITHUB_TOKEN  GitHub token  gh[pousr]_[A-Za-z0-9]{36,255}  words=ghp_,gho_,ghu_,ghs_,ghr_  check=crc
github-fine-grained-token  GITHUB_TOKEN  GitHub fine-grained token  github_pat_\w{80,90}  check=crc
# GitLab: docs.gitlab.com/security/tokens (the token prefixes)
gitlab-token  GITLAB_TOKEN  GitLab personal access token  glpat-[\w-]{20,22}(?:[\w-]{4,40}\.\w{2}\.\w{9})?
gitlab-oauth-secret  GITLAB_OAUTH_SECRET  GitLab OAuth secret  gloas-[\w-]{64}
gitlab-job-token  CI_JOB_TOKEN  GitLab job token  glcbt-[0-9a-zA-Z]{1,5}_[\w-]{20}
gitlab-deploy-token  GITLAB_TOKEN  GitLab deploy token  gldt-[\w-]{20}
gitlab-feature-flag-token  GITLAB_TOKEN  GitLab feature flag token  glffct-[\w-]{20}
gitlab-feed-token  GITLAB_TOKEN  GitLab feed token  glft-[\w-]{20}
gitlab-mail-token  GITLAB_TOKEN  GitLab incoming mail token  glimt-[\w-]{25}
gitlab-agent-token  GITLAB_TOKEN  GitLab agent token  glagent-[\w-]{50}
gitlab-trigger-token  GITLAB_TOKEN  GitLab pipeline trigger token  glptt-[0-9a-f]{40}
gitlab-runner-token  GITLAB_TOKEN  GitLab runner token  (?:glrtr?-[\w-]{20,30}(?:\.\w{2}\.\w{9})?|GR1348941[\w-]{20})
    words=glrt-,glrtr-,GR1348941
gitlab-scim-token  GITLAB_TOKEN  GitLab SCIM token  glsoat-[\w-]{20}
gitlab-session-cookie  GITLAB_SESSION  GitLab session cookie  _gitlab_session=[0-9a-z]{32}
sourcegraph-token  SRC_ACCESS_TOKEN  Sourcegraph token  sg[ps]_(?:(?:[0-9a-f]{16}|local)_)?[0-9a-f]{40}  words=sgp_,sgs_
# Package registries
npm-token  NPM_TOKEN  npm token  npm_[A-Za-z0-9]{36}  check=crc
pypi-token  TWINE_PASSWORD  PyPI token  pypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZw)[\w-]{50,1000}
rubygems-key  GEM_HOST_API_KEY  RubyGems key  rubygems_[0-9a-f]{48}
crates-token  CARGO_REGISTRY_TOKEN  crates.io token  cio[A-Za-z0-9]{32}  check=unworded
nuget-key  NUGET_API_KEY  NuGet key  oy2[a-z0-9]{43}  check=random
clojars-token  CLOJARS_PASSWORD  Clojars token  CLOJARS_[A-Za-z0-9]{60}
docker-token  DOCKER_TOKEN  Docker access token  dckr_(?:pat|oat)_[\w-]{27,40}
jfrog-key  ARTIFACTORY_API_KEY  Artifactory API key  AKC[A-Za-z0-9]{10,90}  check=random
artifactory-password  ARTIFACTORY_PASSWORD  Artifactory encrypted password  AP[0-9A-F]{1}[A-Za-z0-9]{8,80}  check=mixing
jfrog-token  ARTIFACTORY_TOKEN  Artifactory reference token  cmVmdGtu[A-Za-z0-9]{56}
sonar-token  SONAR_TOKEN  SonarQube token  sq[upa]_[0-9a-z]{40}  words=squ_,sqp_,sqa_
# Build and deployment
circleci-token  CIRCLE_TOKEN  CircleCI token  CCI(?:PAT|PRJ)_[A-Za-z0-9]{22}_[0-9a-f]{40}
buildkite-token  BUILDKITE_TOKEN  Buildkite token  bk[au]a_[0-9a-f]{40}  words=bkua_,bkaa_
terraform-token  TF_TOKEN  Terraform Cloud token  [A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}  words=.atlasv1.  reach=around
vault-token  VAULT_TOKEN  Vault token  hv[srb]\.[\w-]{24,300}  words=hvs.,hvb.,hvr.
pulumi-token  PULUMI_ACCESS_TOKEN  Pulumi token  pul-[0-9a-f]{40}
doppler-token  DOPPLER_TOKEN  Doppler token  dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{40,70}  words=dp.
infracost-key  INFRACOST_API_KEY  Infracost key  ico-[A-Za-z0-9]{32}
harness-token  HARNESS_API_KEY  Harness token  [ps]at\.[\w-]{22}\.[0-9a-f]{24}\.[A-Za-z0-9]{20}  words=pat.,sat.
octopus-key  OCTOPUS_API_KEY  Octopus Deploy key  API-[A-Z0-9]{26}  check=random
openshift-token  OPENSHIFT_TOKEN  OpenShift token  sha256~[\w-]{43}
scalingo-token  SCALINGO_TOKEN  Scalingo token  tk-us-[\w-]{48}
heroku-key  HEROKU_API_KEY  Heroku key  HRKU-[\w-]{30,70}
vercel-token  VERCEL_TOKEN  Vercel token  vc[piark]_[A-Za-z0-9]{24,60}  words=vcp_,vci_,vca_,vcr_,vck_
flyio-token  FLY_API_TOKEN  Fly.io token  fo1_[\w-]{43}
flyio-macaroon  FLY_API_TOKEN  Fly.io token  fm[12][ar]?_[A-Za-z0-9+/]{100,600}={0,3}  words=fm1,fm2
netlify-token  NETLIFY_AUTH_TOKEN  Netlify token  nf[pcoub]_[A-Za-z0-9]{36}  words=nfp_,nfc_,nfo_,nfu_,nfb_
render-key  RENDER_API_KEY  Render key  rnd_[A-Za-z0-9]{28,40}
deno-token  DENO_DEPLOY_TOKEN  Deno Deploy token  dd[pw]_[A-Za-z0-9]{36}  words=ddp_,ddw_
planetscale-password  PLANETSCALE_PASSWORD  PlanetScale password  pscale_pw_[\w.=-]{32,64}
planetscale-token  PLANETSCALE_TOKEN  PlanetScale token  pscale_(?:tkn|oauth|api)_[\w.=-]{32,64}
supabase-token  SUPABASE_ACCESS_TOKEN  Supabase access token  sbp_[0-9a-f]{40}
supabase-secret-key  SUPABASE_KEY  Supabase secret key  sb_secret_[\w-]{20,60}
neon-key  NEON_API_KEY  Neon key  napi_[a-z0-9]{64}
xata-key  XATA_API_KEY  Xata key  xau_[A-Za-z0-9]{32,44}
convex-key  CONVEX_DEPLOY_KEY  Convex deploy key  (?:prod|dev):[a-z-]+-\d+\|[A-Za-z0-9+/=]{40,200}  words=prod:,dev:
# Tools
postman-key  POSTMAN_API_KEY  Postman key  PMAK-[0-9a-fA-F]{24}-[0-9a-fA-F]{34}
postman-collection-key  POSTMAN_API_KEY  Postman collection key  PMAT-[0-9A-Z]{26}
linear-key  LINEAR_API_KEY  Linear key  lin_(?:api|oauth)_[A-Za-z0-9]{40,64}
notion-token  NOTION_TOKEN  Notion token  ntn_[0-9]{11}[A-Za-z0-9]{35}
notion-secret  NOTION_TOKEN  Notion integration secret  secret_[A-Za-z0-9]{43}  check=unworded
airtable-token  AIRTABLE_API_KEY  Airtable token  pat[A-Za-z0-9]{14}\.[0-9a-f]{64}
atlassian-token  ATLASSIAN_API_TOKEN  Atlassian token  AT(?:ATT3|CTT3|ST)[\w=-]{100,250}  words=ATATT3,ATCTT3,ATST
bitbucket-app-password  BITBUCKET_APP_PASSWORD  Bitbucket app password  ATBB[A-Za-z0-9]{28}[0-9A-F]{8}
bitbucket-data-center-token  BITBUCKET_TOKEN  Bitbucket Data Center token  BBDC-[A-Za-z0-9+/@_-]{40,50}
figma-token  FIGMA_TOKEN  Figma token  fig(?:[dou]h?|r)_[\w-]{40,60}  words=figd_,figo_,figu_,figr_,figdh_,figoh_,figuh_
clickup-token  CLICKUP_API_TOKEN  ClickUp token  pk_\d{7,9}_[A-Z0-9]{32}
gitbook-token  GITBOOK_TOKEN  GitBook token  gb_api_[A-Za-z0-9]{40}
readme-key  README_API_KEY  ReadMe key  rdme_[a-z0-9]{70}
onepassword-token  OP_SERVICE_ACCOUNT_TOKEN  1Password service account token  ops_eyJ[A-Za-z0-9+/]{200,}={0,3}
onepassword-secret-key  OP_SECRET_KEY  1Password secret key
    A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}
age-secret-key  AGE_SECRET_KEY  age secret key  AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}
authress-key  AUTHRESS_KEY  Authress key
    (?:sc|ext|scauth|authress)_\w{5,30}\.[a-z0-9]{4,6}\.acc[_-][a-z0-9-]{10,32}\.[a-zA-Z0-9+/_=-]{30,120}
    words=sc_,ext_,scauth_,authress_
intra42-secret  INTRA42_SECRET  42 Intra secret  s-s4t2(?:ud|af)-[0-9a-f]{64}  words=s-s4t2
settlemint-token  SETTLEMINT_TOKEN  SettleMint token  sm_(?:pat|aat|sat)_[A-Za-z0-9]{16}
grafana-token  GRAFANA_TOKEN  Grafana service account token  glsa_[A-Za-z0-9]{32}_[0-9A-Fa-f]{8}
grafana-cloud-token  GRAFANA_TOKEN  Grafana Cloud token  glc_[A-Za-z0-9+/]{32,400}={0,3}
grafana-key  GRAFANA_API_KEY  Grafana API key  eyJrIjoi[A-Za-z0-9+/]{70,400}={0,3}
sentry-org-token  SENTRY_AUTH_TOKEN  Sentry organisation token  sntrys_eyJ[A-Za-z0-9+/=]{60,400}(?:_[A-Za-z0-9+/]{43})?
sentry-user-token  SENTRY_AUTH_TOKEN  Sentry user token  sntryu_[0-9a-f]{64}
dynatrace-token  DT_API_TOKEN  Dynatrace token  dt0[a-zA-Z]\d\d\.[A-Z0-9]{8,24}\.[A-Z0-9]{64}
newrelic-key  NEW_RELIC_API_KEY  New Relic user key  NRAK-[A-Z0-9]{27}  flags=i
newrelic-browser-key  NEW_RELIC_BROWSER_KEY  New Relic browser key  NRJS-[0-9a-f]{19}
newrelic-insert-key  NEW_RELIC_INSERT_KEY  New Relic insert key  NRI[IQ]-[A-Za-z0-9-]{32}  words=NRII-,NRIQ-
newrelic-license-key  NEW_RELIC_LICENSE_KEY  New Relic license key  [0-9a-f]{36}NRAL  words=nral  reach=around
newrelic-admin-key  NEW_RELIC_ADMIN_KEY  New Relic admin key  NRAA-[0-9a-f]{27}
honeycomb-key  HONEYCOMB_API_KEY  Honeycomb key  hc[ab]ik_[A-Za-z0-9]{58}  words=hcaik_,hcbik_
logfire-token  LOGFIRE_TOKEN  Logfire token  pylf_v\d_[a-z]{2,12}_[A-Za-z0-9]{40,60}
trigger-key  TRIGGER_SECRET_KEY  Trigger.dev key  tr_(?:dev|prod|stg|pat)_[A-Za-z0-9]{20,45}
tailscale-key  TS_AUTHKEY  Tailscale key  tskey-(?:[a-z]+-)?[A-Za-z0-9]{10,24}-[A-Za-z0-9]{16,40}
nkey-seed  NATS_SEED  NATS seed  S[UANCO]A[A-Z2-7]{55}  words=SUA,SAA,SNA,SCA,SOA  check=random
"""

NEARBY = r"""
vault-service-token  VAULT_TOKEN  Vault token  vault  [sbr]\.[A-Za-z0-9]{24}
airtable-key  AIRTABLE_API_KEY  Airtable key  airtable  (?:key[A-Za-z0-9]{14}|[a-z0-9]{17})
asana-token  ASANA_ACCESS_TOKEN  Asana token  asana  [012]/\d{16}(?:/\d{16})?:[0-9a-f]{32}
bitbucket-client-secret  BITBUCKET_CLIENT_SECRET  Bitbucket client secret  bitbucket  [\w=-]{64}
bitbucket-client-id  BITBUCKET_CLIENT_ID  Bitbucket client id  bitbucket  [A-Za-z0-9]{32}
bitbucket-server-token  BITBUCKET_TOKEN  Bitbucket server token  bitbucket  [MNO][A-Za-z0-9+/]{43}
atlassian-legacy-token  ATLASSIAN_API_TOKEN  Atlassian token  atlassian,confluence,jira  [A-Za-z0-9]{24}
jfrog-identity-token  ARTIFACTORY_TOKEN  JFrog identity token  jfrog,artifactory,bintray,xray  [A-Za-z0-9]{64}
jfrog-api-key  ARTIFACTORY_API_KEY  JFrog API key  jfrog,artifactory,bintray,xray  [A-Za-z0-9]{73}
sonar-login  SONAR_TOKEN  SonarQube token  sonar  [\w=-]{40}
travis-token  TRAVIS_TOKEN  Travis CI token  travis  [\w-]{22}
codecov-token  CODECOV_TOKEN  Codecov token  codecov  (?:[0-9a-f]{32}|UUID)
coveralls-token  COVERALLS_REPO_TOKEN  Coveralls token  coveralls  [A-Za-z0-9-]{32,37}
circleci-legacy-token  CIRCLE_TOKEN  CircleCI token  circleci,circle_ci,circle-token,circle_token  [0-9a-f]{40}
droneci-token  DRONE_TOKEN  Drone CI token  droneci,drone_ci,drone_token  [A-Za-z0-9]{32}
codemagic-token  CODEMAGIC_TOKEN  Codemagic token  codemagic  [\w-]{43}
heroku-uuid-key  HEROKU_API_KEY  Heroku key  heroku  UUID
netlify-legacy-token  NETLIFY_AUTH_TOKEN  Netlify token  netlify  [\w=-]{40,46}
vercel-legacy-token  VERCEL_TOKEN  Vercel token  vercel,zeit_  [A-Za-z0-9]{24}
snyk-token  SNYK_TOKEN  Snyk token  snyk  UUID
sentry-token  SENTRY_AUTH_TOKEN  Sentry token  sentry  [0-9a-f]{64}
datadog-app-key  DD_APP_KEY  Datadog application key  datadog,dd_app,dd-application,dd_application,ddog  [a-z0-9]{40}
datadog-api-key  DD_API_KEY  Datadog API key  datadog,dd_api,dd-api,ddog  [a-z0-9]{32}
newrelic-api-id  NEW_RELIC_API_ID  New Relic user API id  newrelic,new-relic,new_relic  [a-z0-9]{64}
pagerduty-key  PAGERDUTY_API_KEY  PagerDuty key  pagerduty,pager_duty,pager-duty,pd_api
    (?:[a-z]\+[\w+-]{18}|[\w+-]{20})
opsgenie-key  OPSGENIE_API_KEY  Opsgenie key  opsgenie  UUID
rollbar-access-token  ROLLBAR_ACCESS_TOKEN  Rollbar token  rollbar  [0-9a-f]{32}
bugsnag-key  BUGSNAG_API_KEY  Bugsnag key  bugsnag  [0-9a-f]{32}
loggly-token  LOGGLY_TOKEN  Loggly token  loggly  UUID
honeybadger-key  HONEYBADGER_API_KEY  Honeybadger key  honeybadger  [A-Za-z0-9]{16,40}
logdna-key  LOGDNA_KEY  LogDNA key  logdna  [0-9a-f]{32}
sumologic-access-id  SUMOLOGIC_ACCESS_ID  Sumo Logic access id  sumo  su[A-Za-z0-9]{12}
sumologic-access-key  SUMOLOGIC_ACCESS_KEY  Sumo Logic access key  sumo  [A-Za-z0-9]{64}
launchdarkly-key  LAUNCHDARKLY_SDK_KEY  LaunchDarkly key  launchdarkly,launch_darkly
    (?:(?:sdk|api|mob)-UUID|[a-z0-9=_-]{40})
algolia-key  ALGOLIA_API_KEY  Algolia key  algolia,docsearch,apikey:  [a-z0-9]{32}
contentful-token  CONTENTFUL_ACCESS_TOKEN  Contentful token  contentful  (?:CFPAT-)?[\w=-]{43}
trello-key  TRELLO_API_KEY  Trello key  trello  [A-Za-z0-9-]{32}
trello-token  TRELLO_TOKEN  Trello token  trello  (?:[0-9a-f]{64}|ATTA[0-9a-f]{72})
asana-client-id  ASANA_CLIENT_ID  Asana client id  asana  [0-9]{16}
asana-client-secret  ASANA_CLIENT_SECRET  Asana client secret  asana  [a-z0-9]{32}
linear-client-secret  LINEAR_CLIENT_SECRET  Linear client secret  linear_,linear-,linearapp,linear token,lineartoken
    [0-9a-f]{32}
notion-legacy-secret  NOTION_TOKEN  Notion token  notion  secret_[A-Za-z0-9]{43}
gitter-token  GITTER_TOKEN  Gitter token  gitter  [\w-]{40}
mattermost-token  MATTERMOST_TOKEN  Mattermost token  mattermost  [a-z0-9]{26}
confluent-key  CONFLUENT_API_KEY  Confluent key  confluent,ccloud  [A-Za-z0-9]{16}
confluent-secret  CONFLUENT_API_SECRET  Confluent secret  confluent,ccloud  [A-Za-z0-9+/]{64}
sidekiq-secret  BUNDLE_ENTERPRISE__CONTRIBSYS__COM  Sidekiq gem password  contribsys  [0-9a-f]{8}:[0-9a-f]{8}
rapidapi-key  RAPIDAPI_KEY  RapidAPI key  rapidapi,rapid_api,rapid-api,rapid api  [A-Za-z0-9_-]{50}
privateai-key  PRIVATE_AI_KEY  Private AI key  privateai,private_ai,private-ai  [a-z0-9]{32}
looker-client-id  LOOKER_CLIENT_ID  Looker client id  looker  [A-Za-z0-9]{20}
looker-client-secret  LOOKER_CLIENT_SECRET  Looker client secret  looker  [A-Za-z0-9]{24}
maxmind-key  MAXMIND_LICENSE_KEY  MaxMind license key  _mmk,maxmind,geoip
    (?:[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk|[A-Za-z0-9]{16})
defined-networking-token  DNKEY  Defined Networking token  dnkey-,dnkey  (?:dnkey-)?[a-z0-9=_-]{26}-[a-z0-9=_-]{52}
"""

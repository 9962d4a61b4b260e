"""Credentials of no one vendor: keys, URLs, headers, connection strings, commands. Columns: rules_ml.py, NEARBY.

The first group of a form is the secret. `span=BEFORE:AFTER` says how many characters around a word are searched.
"""

ANYWHERE = r"""
command-line-password  PASSWORD  password on a command line
    (?:^|[\s"'=`])--?(?P<name>[\w.-]{0,40}(?i:passw(?:or)?d|pass|pwd|pw|passphrase|credential))(?:=|[ \t]+|["'],[ \t]*
        ["'])["']?([^\s"'<>|;&]{4,100})  check=cli
command-line-token  ACCESS_TOKEN  token on a command line
    (?:^|[\s"'=`])--?(?P<name>[\w.-]{0,40}(?i:secret|token|key|credential))(?:=|[ \t]+|["'],[ \t]*["'])["']?([^\s"'<>
        |;&]{12,400})  check=mixing
environment-secret  SECRET  secret in the environment
    (?m)^[ \t]*(?:ENV|ARG|setx|setenv|export)[ \t]+(?P<name>\w{0,40}(?i:passw(?:or)?d|pass|pwd|pw|passphrase|secret
        |token|key|auth))[ \t]+["']?([^\s"'<>|;&=$]{5,400})["']?[ \t]*$  check=secret
environment-secret  SECRET  secret in the environment
    (?m)(?:^[ \t]*(?:\d{1,6}[ \t,;]+)?|<t[dh][^<>]{0,60}>)(?P<name>(?i:[\w.-]{0,40}(?:passw(?:or)?d|passphrase|secret)
        |[\w.-]{1,40}(?:pass|pwd|token|key))(?i:_?base)?)(?:[ \t]+|[,;][ \t]*|</t[dh]>\s*<td[^<>]{0,60}>)["']?
        ([^\s"'<>|;&=$(){}\[\],]{12,400})["']?[ \t]*(?:$|</td>)  check=strewn
"""

CONTEXT = r"""
# Keys: RFC 7468 and its relatives, OpenPGP (RFC 9580), PuTTY, JSON Web Keys (RFC 7517)
private-key  PRIVATE_KEY  private key  private key
    (?s)(-{4,5} ?BEGIN [A-Z0-9 _-]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}.{1,300}?
        [A-Za-z0-9+/]{24}.*?-{4,5} ?END [A-Z0-9 _-]{0,40}-{4,5})  span=64:20000  check=any  flags=c  rank=-2
private-key  PRIVATE_KEY  private key  private key
    (?s)(-{4,5} ?BEGIN [A-Z0-9 _-]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}.{1,200}?[A-Za-z0-9+/]{24}[A-Za-z0-9+/=\s\\]*)
    span=64:8000  check=any  flags=c  rank=-1
putty-private-key  PRIVATE_KEY  PuTTY private key  putty-user-key-file
    (?s)(PuTTY-User-Key-File-\d.{1,900}?Private-Lines: ?\d+(?:\\n|\s)+[A-Za-z0-9+/=\s\\]{40,})  span=8:8000  check=any
private-key-header  PRIVATE_KEY  private key  private key  (-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)\s*\z
    span=40:60  check=any  flags=c
putty-header  PRIVATE_KEY  PuTTY private key  putty-user-key-file  (PuTTY-User-Key-File-\d)\b  span=2:40  check=any
private-key-base64  PRIVATE_KEY  private key in base64  ls0tls1crudjt  (LS0tLS1CRUdJT[A-Za-z0-9+/]{60,})  span=2:9000
    check=key64  flags=c
json-web-key  PRIVATE_KEY  private JSON Web Key  "kty"  "d"\s*:\s*"([\w-]{40,})"  span=600:3000
json-web-token  ACCESS_TOKEN  JSON Web Token  eyj  (eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){1,3})  span=2:9000  check=jwt
    flags=c  rank=-1
json-web-token-base64  ACCESS_TOKEN  JSON Web Token in base64  zxlk  (ZXlK[\w+/-]{60,}={0,2})  span=2:9000  check=jwt64
    flags=c
pgpass-line  PGPASSWORD  PostgreSQL password file line  :5432:  [\w.*-]+:5432:[\w*-]+:[\w*.-]+:([^\s:'"]{3,100})
    span=80:300  check=weak
# Headers and addresses: RFC 7617, RFC 6750, RFC 3986
basic-auth  BASIC_AUTH  Basic authentication header  basic  \bbasic\s+([A-Za-z0-9+/]{8,}={0,2})  span=1:300  check=basic
docker-auth  DOCKER_AUTH_CONFIG  Docker registry login  "auth",_auth,auth=
    (?:"auth"\s*:\s*"|_auth\s*=\s*['"]?|\bauth=['"]?)([A-Za-z0-9+/]{8,}={0,2})  span=1:300  check=basic
bearer-token  ACCESS_TOKEN  bearer token  bearer  \bbearer['"]?[\s:+,'"]{1,6}f?([\w.~+/=-]{16,1000})  span=1:1200
    check=bearer
authorization-header  ACCESS_TOKEN  Authorization header  authorization
    authorization['"]?\]?\s*[:=,]\s*\w?['"]?(?:[a-z][a-z-]{2,12}(?:\s+|=|\s+token=))?['"]?([\w.~+/:=-]{20,1000})
    span=1:1200  check=bearer
url-password  DATABASE_URL  password in a URL  ://  ://[^\s:/?#@'"<>`]{0,100}:([^\s@/'"<>`]{1,200})@[\w.${\[*-]
    span=2:400  check=url
url-password  DATABASE_URL  password in a URL  ://  ://[^\s:/?#@'"<>`]{1,100}:([^\s@'"<>`]{3,100})@[\w.-]+[:/'"`]
    span=2:400  check=url_slash
url-user-token  ACCESS_TOKEN  token in a URL  ://  ://([A-Za-z0-9_-]{20,100})@(?:[a-np-rt-z0-9]|o[^0-9]|s[^e])
    span=2:200  check=bearer
url-token  ACCESS_TOKEN  token in a URL  token=,access_token,accesstoken,auth_token,authtoken
    [?&](?:amp;)?(?:(?:access|auth|api|id|refresh|session|private|security|x-amz-security)[_-]?)?token=
        ([\w.~+/%=-]{16,})  span=40:2600  check=bearer
url-token  ACCESS_TOKEN  token in a URL  token=,access_token,accesstoken,auth_token,authtoken
    [?&](?:amp;)?(?:access|auth|refresh|private)[_-]?token=([\w.~+/%=-]{8,15})(?:[^\w.~+/%=-]|\z)  span=24:40
    check=typed
url-key  API_KEY  key in a URL  key=,appid=,pass=,secret=,pwd=
    [?&;](?:amp;)?(?:(?:api|access|subscription|auth|app|license|secret|private)?[_-]?key|appid|secret|pass|pwd
        |client_secret)=([\w.~+%-]{12,200})  span=20:300  check=bearer
url-password-parameter  PASSWORD  password in a URL  password=,passwd=,pwd=
    (?:[?&;]|\bjdbc:[^\s'"]{3,300}[?&;:])(?:password|passwd|pwd)=([^\s&;'"<>]{4,100})  span=300:400  check=weak
azure-sas  AZURE_SAS_TOKEN  Azure SAS token  sig=
    (?:\bs[veprt]|\bspr|\bsrt)=[^\s'"<>]{1,400}?&(?:amp;)?sig=([A-Za-z0-9%+/_-]{30,100}(?:%3D|=){0,2})  span=500:200
azure-sas  AZURE_SAS_TOKEN  Azure SAS token  sig=
    [?&"']sig=([A-Za-z0-9%+/_-]{30,100}(?:%3D|=){0,2})&[^\s'"<>]{0,400}\bs[vepr]=  span=2:700
# Signed addresses, also inside of others: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html and
# cloud.google.com/storage/docs/access-control/signed-urls; 27 characters: a SHA-1 in base64, version 2 of Amazon
signed-url  URL_SIGNATURE  signature in a URL  signature=,signature%3d,sig=,x-amz-signature,x-goog-signature
    (?:(?:[?&]|\\u0026|\\x26|%26|%3F)(?:amp;)?(?:[a-z]{1,12}[_-]){0,3}(?:signature|sig)(?:=|%3D)|\bx-(?:amz|goog)-signature
        \\?["']\s{0,9}[:,]\s{0,9}\\?["'])((?:[\w.~+/-]|%2[BF]|%3D){27,}={0,2})  span=60:2600
    check=signature
storage-connection-string  AZURE_STORAGE_KEY  storage connection string  accountkey,sharedaccesskey,sharedsecret
    (?:Account|SharedAccess)Key["']?\s*[=:]\s*["']?([A-Za-z0-9+/]{40,100}={1,2})  span=2:300
database-connection-string  DATABASE_PASSWORD  password in a connection string  password=,pwd=,password =,pwd =
    (?:;\s*|(?:uid|user id|user|username|server|host|data source|initial catalog|dbname)\s*=\s*[^;,'"\n]{1,100}(?:;\s*
        |[ \t]+))(?:password|pwd)\s*=\s*([^;,()'"\s<>]{3,100})  span=200:200  check=weak
database-connection-string  DATABASE_PASSWORD  password in a connection string  password=,pwd=
    (?:^|["'\s])(?:password|pwd)=([^;'"\s<>&]{3,100});\s*(?:uid|user|server|host|data|initial|database|port|trusted
        |encrypt|persist)  span=2:200  check=weak
url-password  DATABASE_URL  password in a URL  ://
    ://[^\s:/?#@'"<>`]{1,100}@[^\s:/?#@'"<>`]{1,100}:([^\s@/?#'"<>`]{3,200})@[\w.-]  span=2:400  check=url
sql-password  DATABASE_PASSWORD  password in SQL  identified by
    identified\s+by\s+(?:values\s+)?['"]([^'"\n]{3,100})['"]  span=2:200  check=weak
sql-password  DATABASE_PASSWORD  password in SQL  create user,alter user,create role,alter role,create login,alter login
    (?:create|alter)\s+(?:user|role|login)\b[^;\n]{1,200}?\bpassword\s*=?\s*(?:\(\s*)?N?['"]([^'"\n]{3,100})['"]
    span=10:400  check=weak
sql-password  DATABASE_PASSWORD  password in SQL  set password
    set\s+password\b[^;\n]{0,120}?=\s*(?:password\s*\(\s*)?['"]([^'"\n]{3,100})['"]  span=2:300  check=weak
telegram-token  TELEGRAM_TOKEN  Telegram bot token  api.telegram.org/bot  \.org/bot(\d{8,10}:[\w-]{35})\b  span=2:80
    check=bot
softlayer-url  SOFTLAYER_API_KEY  SoftLayer key in a URL  api.softlayer.com/
    softlayer\.com/(?:soap|rest|xmlrpc)/(?:v3|v3\.1)/([a-z0-9]{64})  span=16:200
# Commands
curl-user  BASIC_AUTH  curl --user  curl
    \bcurl\b(?:[^\n]|\\\r?\n){0,400}?\s(?:-u|--user|--proxy-user|-U)(?:\s+|=)?["']?[^\s:'"]{0,100}:([^\s'"]{3,200})
    span=2:800  check=weak
curl-user  BASIC_AUTH  curl --user  curl
    \bcurl\b(?:[^\n]|\\\r?\n){0,400}?\s(?:-u|--user)(?:\s+|=)?["']?([^\s:'"]{8,200}):["'\s]  span=2:800  check=random
sshpass  SSH_PASSWORD  sshpass password  sshpass
    \bsshpass\s+-p\s*(?:"([^"\n]{3,100})"|'([^'\n]{3,100})'|([^\s"']{3,100}))  span=2:200  check=weak
mysql-password  MYSQL_PWD  mysql password  mysql,mariadb
    \b(?:mysql|mysqldump|mysqladmin|mariadb)\b(?:\s+[^\n|;]{0,150})?\s-p["']?([^\s"'|;<>]{4,100})  span=2:300  check=cli
docker-login  DOCKER_PASSWORD  docker login password  docker login,podman login,helm registry login,az login
    login\b[^\n|;]{0,200}?\s-p\s*["']?([^\s"'|;<>-][^\s"'|;<>]{3,200})  span=2:400  check=cli
openssl-password  PASSPHRASE  passphrase on a command line  pass:  -pass(?:in|out)?\s+pass:([^\s"']{4,100})  span=12:200
    check=weak
piped-password  PASSWORD  password given to a command  sudo -,--password-stdin,--stdin
    (?:echo|printf)\s+(?:-\w+\s+)*(?:"([^"\n]{3,100})"|'([^'\n]{3,100})'|([^\s"'|<>$]{3,100}))\s*\|\s*(?:\w+=\S+\s+)?(?:
        sudo\s[^\n|]{0,60}?-\w*S\b|[^\n|]{1,160}?\s--(?:password-)?stdin\b)  span=320:60  check=weak  flags=c
piped-password  PASSWORD  password given to a command  sudo -
    \bsudo\s[^\n|<]{0,60}?-\w*S\b[^\n|<]{0,100}<<<\s*["']?([^\s"'<>$][^\s"'<>]{2,100})  span=2:280  check=weak  flags=c
net-use-password  PASSWORD  net use password  net use  net use\b[^\n]{0,150}?\s/user:\S{1,60}\s+([^\s/]{4,60})
    span=2:300  check=password
netrc  NETRC_PASSWORD  netrc line  machine
    machine\s+\S+\s+login\s+\S+\s+(?:account\s+\S+\s+)?password\s+([^\s"']{3,200})  span=2:400  check=weak
netrc  NETRC_PASSWORD  netrc line  login  \blogin\s+\S{1,80}\s+password\s+([^\s"']{4,200})  span=2:300  check=password
npmrc-token  NPM_TOKEN  npm registry token  _authtoken,_password
    (?:^|[:\s/"])_(?:authToken|password)\s*=\s*["']?([\w.=+/-]{8,400})  span=3:500  check=bearer
gpg-passphrase  GPG_PASSPHRASE  passphrase on a command line  --passphrase
    --passphrase(?:=|\s+)["']?([^\s"'<>|;-][^\s"'<>|;]{3,100})  span=2:200  check=weak
secure-string  PASSWORD  PowerShell secure string  convertto-securestring
    ConvertTo-SecureString\s+(?:-String\s+)?["']([^"'\n]{4,200})["']  span=2:300  check=weak
set-env  SECRET  secret in the environment  %set_env,%env,setx,setenv,#define,set-item env:
    (?:%set_env|%env|setx|setenv|#define|set-item env:)\s*["']?(?P<name>\w*(?:passw(?:or)?d|pwd|secret|token|key)\w*)
        ["']?[ \t]+["']?([^\s'"=$]\S{3,300}?)["']?(?:\s|$)  span=2:400  check=secret
option-default  SECRET  default of an option  environ,getenv,process.env,env(,env[,config(
    (?:environ(?:\.get|\.setdefault)?|getenv|process\.env|\benv|\bconfig)\s*[(\[.]\s*["']?(?P<name>[\w.-]*(?:passw(?:or)?d
        |pass|pwd|pw|passphrase|secret|token|key|auth|credentials?|salt))["']?\s*[)\]]?\s*(?:,\s*(?:default\s*=\s*)?|or\s
        |\|\||\?\?|\?:)\s*[brf]?["'`]([^"'`\n]{4,300})["'`]  span=8:460  check=secret
option-default  SECRET  default of an option  :-
    \$\{(?P<name>\w*(?:passw(?:or)?d|pass|pwd|pw|passphrase|secret|token|key|auth)):?-["']?([^\s"'{}$]{4,300})["']?\}
    span=60:320  check=secret
option-default  SECRET  default of an option  default=
    --?[\w-]*(?:passw(?:or)?d|passwd|pwd|token|secret|api[-_]?key)["'][^)\n]{0,160}?default\s*=\s*["']([^"'\n]{4,200})
        ["']  span=200:220  check=secret
named-value  SECRET  value of a named setting  value=,value =,value:,"value",'value',<value>,>value
    (?:name|key|id|property|variable)\\?["']?\s*[=:>]\s*\\?["']?(?P<name>[\w.-]*(?:passw(?:or)?d|pass|pwd|secret|token
        |passphrase|(?:api|access|secret|license|private|auth|account|hmac)[_.-]?key))\\?["']?[\s,}>/]{1,24}<?\\?["']?
        (?:default_?)?value\\?["']?\s*[=:>]\s*\\?["']?([^"'\n<>\\]{4,300})  span=160:320  check=secret
encrypted-setting  SECRET  encrypted setting of a build service  secure:
    \bsecure["']?:\s+["']?([A-Za-z0-9+/]{20,1000}={0,2})(?:["'\s]|\z)  span=2:1100  check=lot
tagged-secret  SECRET  secret in a tag  secret>,token>,password>,apikey>,api_key>,passphrase>
    <[\w:.-]*(?:secret|token|password|api_?key|passphrase)>\s*\{?[^<>]{0,60}?\b([A-Za-z0-9+/=_.-]{16,400})\}?\s*</
    span=40:600  check=near
quoted-argument  SECRET  secret in quotes after its name  private_key,password,passwd,secret,token,api_key,apikey
    \b[\w.-]*(?:private_?key|passw(?:or)?d|secret|token|api_?key)["']?[ \t]+(?:"([^"'\n]{6,200})"|'([^"'\n]{6,200})');
    span=30:260  check=secret
prose-secret  SECRET  secret in prose
    client secret,access token,api key,secret key,access key,api token,auth token,app secret,secret token,private to
        ken,bot token,consumer secret,consumer key,license key,encryption key,authentication key,auth key,service key
        ,personal token,refresh token,session token,bearer token,signing key,master key,subscription key,account key
    \b(?:client|access|api|secret|auth|app|private|bot|consumer|license|encryption|authentication|service|personal|refresh
        |session|bearer|signing|master|subscription|account)[ _-](?:secret|token|key)\b["']?[ \t:=]{1,3}(?:(?:is:?|-)
        [ \t]+)?["'(<`]?([\w+/=.-]{12,200})  span=2:300  check=lot
prose-password  PASSWORD  password in prose  password(,passwd(  \bpassw(?:or)?d\(([^\s()"'=,]{6,100})\)  span=2:120
    check=soup
prose-secret  SECRET  secret in prose  find a,secret,token  \b(?:secret|token)[ \t]+([\w+/=.-]{15,200})(?:\s|$)
    span=60:300  check=mixing
prose-password  PASSWORD  password in prose  password is,password was,passwort ist,passwd is
    passw(?:or)?[dt] (?:is|was|ist):?\s+["'`]?([^\s"'`]{4,60}[^\s"'`.,;:)])  span=2:120  check=typed
command-password  PASSWORD  password on a command line
    -storepass,-keypass,-srcstorepass,-deststorepass,-pw ,-password ,-passphrase
    \s-(?:\w*storepass|keypass|pw|password|passphrase)[ \t]+["']?([^\s"'<>|;-][^\s"'<>|;]{3,100})  span=24:160
    check=cli
command-password  PASSWORD  password on a command line
    unzip,7z,zip -,ldapsearch,ldapadd,redis-cli,mongo ,mongodump,openssl enc,ssh-keygen,psexec
    \b(?:unzip\b[^\n|;]{0,120}?\s-P|7z\b[^\n|;]{0,120}?\s-p|zip\b[^\n|;]{0,120}?\s-P|ldap\w+\b[^\n|;]{0,200}?\s-w
        |redis-cli\b[^\n|;]{0,120}?\s-a|mongo\w*\b[^\n|;]{0,120}?\s-p|openssl enc\b[^\n|;]{0,120}?\s-k|ssh-keygen\b
        [^\n|;]{0,120}?\s-N|psexec\b[^\n|;]{0,120}?\s-p)[ \t]*["']?([^\s"'<>|;-][^\s"'<>|;]{3,100})  span=2:320
    check=cli
reversed-comparison  PASSWORD  password in a comparison  password,passwd
    ["']([^"'\n]{5,100})["']\s*[=!]==?\s*[\w.]{0,40}passw(?:or)?d\b  span=160:12  check=password
oracle-connect  ORACLE_PASSWORD  password in a call  oracle,oracledb,yagmail
    (?:connect|SMTP)\(\s*["'][^"'\n/]{1,60}["']\s*,\s*["']([^"'\n]{4,100})["']  span=2:260  check=password
oracle-connect  ORACLE_PASSWORD  password in a call  connect(  connect\(\s*u?["']\w{1,40}/([^"'\s@/]{4,60})@[\w.-]
    span=2:160  check=weak
positional-connect  DATABASE_PASSWORD  password in a call  connect(
    connect\(\s*["'][\w.:-]{2,80}["']\s*,\s*["'][\w@.-]{2,60}["']\s*,\s*["']([^"'\n]{4,100})["']  span=2:320
    check=password
access-token-call  ACCESS_TOKEN_SECRET  secret in a call  set_access_token(,oauthhandler(
    (?:set_access_token|OAuthHandler|OAuth1UserHandler)\(\s*["'][^"'\n]{4,100}["']\s*,\s*["']([^"'\n]{10,100})["']
    span=2:320  check=random
ssh-login  SSH_PASSWORD  password in prose  (pw:,(pw ,(password  \((?:pw|password|pass)[:= ]+([^\s()]{4,100})\)
    span=2:120  check=password
# Calls
auth-pair  BASIC_AUTH  user and password in a call
    auth=,auth =,basicauth,basic_auth,digestauth,authentication(,usernamepassword
    (?:auth\s*=\s*\(|(?:Auth|BasicAuth|basic_auth|Authentication|Credentials?|Token)\()\s*[bru]?["'][^"'\n]{1,100}
        ["']\s*,\s*[bru]?["']([^"'\n]{4,200})["']  span=24:400  check=password
login-call  SMTP_PASSWORD  password of a login  login(,.auth(,authenticate(
    \b(?:login|auth|authenticate)\(\s*(?:["'][^"'\n]{2,100}["']|[\w.]{1,60})\s*,\s*["']([^"'\n]{4,100})["']  span=8:300
    check=password
kaggle-json  KAGGLE_KEY  kaggle.json  username
    username\\?["']\s*:\s*\\?["'][^"'\n]{1,60}["']\s*,\s*\\?["']key\\?["']\s*:\s*\\?["']([0-9a-f]{32})\b  span=4:200
kaggle-json  KAGGLE_KEY  kaggle.json  username
    key\\?["']\s*:\s*\\?["']([0-9a-f]{32})\\?["']\s*,\s*\\?["']username\\?["']\s*:  span=80:20
jupyter-password-hash  JUPYTER_PASSWORD_HASH  Jupyter password hash  sha1:,sha256:,sha512:
    \b(?:sha1:[0-9a-f]{12}:[0-9a-f]{40}|sha256:[0-9a-f]{12}:[0-9a-f]{64}|sha512:[0-9a-f]{12}:[0-9a-f]{128})\b
    span=2:200
jupyter-argon2-hash  JUPYTER_PASSWORD_HASH  Jupyter password hash  argon2  argon2:(\$argon2id?\$v=\d+\$[^\s'"]{40,200})
    span=2:300
ntlm-hash  NTLM_HASH  NTLM hash  :::  :\d+:[0-9a-f]{32}:([0-9a-f]{32}):::  span=90:4
jenkins-secret  JENKINS_SECRET  Jenkins credential  {aqaaabaaa
    \{AQAAABAAA[A-Za-z]?[ A-Za-z0-9+/]{0,9}?\s*([^\s{}<>]{16,600})\s*\}  span=2:700  check=any
kubernetes-secret  KUBERNETES_SECRET  Kubernetes secret  kind: secret,"kind": "secret",kind: "secret"
    (?s)kind["']?:\s*["']?Secret\b.{0,600}?\bdata["']?:.{0,200}?[\w.-]+["']?:\s*["']?([A-Za-z0-9+/]{10,}={0,3})
    span=2:3000  check=base64
kubernetes-secret  KUBERNETES_SECRET  Kubernetes secret  kind: secret
    (?m)^[ \t]+["']?[\w.-]+["']?:[ \t]*["']?([A-Za-z0-9+/]{8,1000}={0,2})["']?,?\s*$  span=1500:3000
    check=readable
kubernetes-secret  KUBERNETES_SECRET  Kubernetes secret  stringdata:
    (?m)^[ \t]+["']?[\w.-]+["']?:[ \t]+["']?([^\s"'{}$<>][^\s"'{}<>]{4,300})["']?,?\s*$  span=2:600
    check=soup
kubernetes-secret  KUBERNETES_SECRET  Kubernetes secret  kind: secret
    (?s)\bdata:\s+[\w.-]+:\s*["']?([A-Za-z0-9+/]{10,1000}={0,3})["']?\s.{0,400}?kind:\s*Secret\b  span=1500:20
    check=base64
firebase-rtdb-secret  SENTRY_DSN  Sentry DSN with its secret  ingest  ://([0-9a-f]{32}:[0-9a-f]{32})@  span=120:60
"""

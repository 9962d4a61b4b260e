"""Tokens of messaging, mail, payment, commerce, social and office services. Columns: rules_ml.py."""

PREFIXED = r"""
# Discord: discord.com/developers/docs/reference (base64 of the bot's id, which begins with M, N or O; time; HMAC)
discord-bot-token  DISCORD_TOKEN  Discord bot token  [MNO][\w-]{22,27}\.[\w-]{6}\.[\w-]{27,38}  words=M,N,O
    guard=[\w-]{22,27}\.[\w-]{6}\.  check=strong
# Slack: api.slack.com/authentication/token-types
slack-bot-token  SLACK_BOT_TOKEN  Slack bot token  xoxb-(?:[0-9]{8,14}-){1,2}[A-Za-z0-9-]{10,60}  check=slack
slack-user-token  SLACK_TOKEN  Slack user token  xox[pe]-(?:[0-9]{8,14}-){1,3}[A-Za-z0-9-]{10,60}  words=xoxp-,xoxe-
    check=slack
slack-app-token  SLACK_APP_TOKEN  Slack app token  xapp-\d-[A-Z0-9]{5,20}-\d{8,20}-[a-z0-9]{32,80}  flags=i
slack-refresh-token  SLACK_REFRESH_TOKEN  Slack configuration token  xoxe(?:\.xox[bp])?-\d-[A-Za-z0-9]{100,200}
slack-legacy-token  SLACK_TOKEN  Slack legacy token  xox[aors]-(?:\d-)?(?:[0-9a-zA-Z]{1,64}-){0,4}[0-9a-zA-Z]{8,64}
    words=xoxa-,xoxo-,xoxr-,xoxs-  check=slack
slack-cookie  SLACK_COOKIE  Slack session cookie  xoxd-[A-Za-z0-9%+/=]{40,300}
slack-client-token  SLACK_TOKEN  Slack client token  xoxc-[0-9-]{20,60}-[0-9a-f]{64}
slack-webhook  SLACK_WEBHOOK_URL  Slack webhook
    hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{35,60}  words=hooks.slack
teams-webhook  TEAMS_WEBHOOK_URL  Microsoft Teams webhook
    (?:[\w-]{1,60}\.webhook|outlook)\.office\.com/webhook(?:b2)?/[0-9a-f-]{36}(?:@|%40)[0-9a-f-]{36}/\w{4,30}/
        [0-9a-zA-Z]{32}/[0-9a-zA-Z-]{36,90}  words=.webhook.office.com,outlook.office.com/webhook  reach=around
    span=120:400
discord-webhook  DISCORD_WEBHOOK_URL  Discord webhook
    discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d{17,20}/[\w-]{60,80}
discord-mfa-token  DISCORD_TOKEN  Discord user token  mfa\.[\w-]{84}
telegram-token  TELEGRAM_TOKEN  Telegram bot token  \d{5,16}:A[\w-]{34}  words=:a  reach=around  check=bot
google-chat-webhook  GOOGLE_CHAT_WEBHOOK  Google Chat webhook
    chat\.googleapis\.com/v1/spaces/[\w-]+/messages\?key=[\w-]{39}&(?:amp;)?token=[\w%=-]{30,80}  words=chat.googleapis
zapier-webhook  ZAPIER_WEBHOOK_URL  Zapier webhook  hooks\.zapier\.com/hooks/catch/\d+/[a-z0-9]{5,12}
ifttt-webhook  IFTTT_KEY  IFTTT webhook key  maker\.ifttt\.com/trigger/[\w-]+/(?:json/)?with/key/[\w-]{20,50}
tines-webhook  TINES_WEBHOOK_URL  Tines webhook  [\w-]{1,40}\.tines\.com/webhook/[a-z0-9]{32}/[a-z0-9]{32}
    words=.tines.com  reach=around
make-webhook  MAKE_WEBHOOK_URL  Make webhook  hook\.(?:eu|us)\d\.make\.com/[a-z0-9]{32}
rocketchat-webhook  ROCKETCHAT_TOKEN  Rocket.Chat webhook  [\w.:-]{4,60}/hooks/[A-Za-z0-9]{17}/[A-Za-z0-9]{64}
    words=/hooks/  reach=around
# Mail and telephone
sendgrid-key  SENDGRID_API_KEY  SendGrid key  SG\.[\w-]{16,32}\.[\w-]{16,64}
sendinblue-key  BREVO_API_KEY  Brevo key  x(?:keysib|smtpsib)-[0-9a-f]{64}-[A-Za-z0-9]{16}  words=xkeysib-,xsmtpsib-
mailgun-key  MAILGUN_API_KEY  Mailgun key  (?:pub)?key-[0-9a-z]{32}  words=key-,pubkey-  check=random
mailchimp-key  MAILCHIMP_API_KEY  Mailchimp key  [0-9a-f]{32}-us\d{1,2}  words=-us  reach=around
resend-key  RESEND_API_KEY  Resend key  re_[A-Za-z0-9]{7,10}_[A-Za-z0-9]{22,26}  check=random
mailersend-token  MAILERSEND_API_KEY  MailerSend token  mlsn\.[0-9a-f]{64}
klaviyo-key  KLAVIYO_API_KEY  Klaviyo private key  pk_[0-9a-f]{34}
twilio-key  TWILIO_API_KEY  Twilio API key  SK[0-9a-f]{32}
twilio-account-sid  TWILIO_ACCOUNT_SID  Twilio account SID  AC[0-9a-f]{32}
telnyx-key  TELNYX_API_KEY  Telnyx key  KEY[0-9A-F]{32}_[A-Za-z0-9]{22}
# Payment
stripe-key  STRIPE_API_KEY  Stripe key  [sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,250}
    words=sk_live_,rk_live_,sk_test_,rk_test_,sk_prod_,rk_prod_
stripe-webhook-secret  STRIPE_WEBHOOK_SECRET  Stripe webhook secret  whsec_[A-Za-z0-9+/]{24,70}={0,2}
square-token  SQUARE_ACCESS_TOKEN  Square access token  (?:EAAA[\w-]{60}|sq0(?:atp|idp|ids)-[\w-]{22,43})
    words=EAAA,sq0atp-,sq0idp-,sq0ids-
square-secret  SQUARE_SECRET  Square OAuth secret  sq0csp-[\w\\-]{43}
braintree-token  BRAINTREE_ACCESS_TOKEN  Braintree access token
    access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}
razorpay-key  RAZORPAY_KEY_ID  Razorpay key id  rzp_(?:live|test)_[A-Za-z0-9]{10,16}
gocardless-token  GOCARDLESS_TOKEN  GoCardless token  (?:live|sandbox)_[\w=-]{40}  words=live_,sandbox_
    guard=[\w=-]{30}  check=random
plaid-token  PLAID_ACCESS_TOKEN  Plaid access token
    access-(?:sandbox|development|production)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
easypost-key  EASYPOST_API_KEY  EasyPost key  EZ[AT]K[A-Za-z0-9]{54}
shippo-token  SHIPPO_TOKEN  Shippo token  shippo_(?:live|test)_[0-9a-fA-F]{40}
duffel-token  DUFFEL_TOKEN  Duffel token  duffel_(?:test|live)_[\w=-]{43}
lob-key  LOB_API_KEY  Lob key  (?:live|test)_(?:pub_)?[0-9a-f]{31,35}  words=live_,test_  guard=(?:pub_)?[0-9a-f]{8}
adyen-key  ADYEN_API_KEY  Adyen key  AQE[A-Za-z0-9]hmf[A-Za-z0-9+/]{56,116}\.?[A-Za-z0-9+/=-]{0,80}  check=random
coinbase-key  COINBASE_API_KEY  Coinbase key name  organizations/[0-9a-f-]{36}/apiKeys/[0-9a-f-]{36}
    words=organizations/
# Commerce and content
shopify-token  SHOPIFY_TOKEN  Shopify token  shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}  words=shpat_,shpca_,shppa_,shpss_
contentful-personal-token  CONTENTFUL_MANAGEMENT_TOKEN  Contentful management token  CFPAT-[\w-]{43}
sanity-token  SANITY_TOKEN  Sanity token  sk[A-Za-z0-9]{178,182}  check=random
woocommerce-key  WOOCOMMERCE_SECRET  WooCommerce key  c[ks]_[0-9a-f]{40}  words=ck_,cs_
frameio-token  FRAMEIO_TOKEN  Frame.io token  fio-u-[\w=-]{64}
typeform-token  TYPEFORM_TOKEN  Typeform token  tfp_[\w.=-]{59}
adafruit-io-key  ADAFRUIT_IO_KEY  Adafruit IO key  aio_[A-Za-z]{4}\d{2}[A-Za-z0-9]{22}
beamer-token  BEAMER_TOKEN  Beamer token  b_[a-z0-9=_-]{44}  check=random
hubspot-token  HUBSPOT_ACCESS_TOKEN  HubSpot private app token
    pat-(?:na|eu|ap)\d-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
intercom-token  INTERCOM_TOKEN  Intercom token  dG9rO[A-Za-z0-9+/]{40,100}={0,2}
wix-key  WIX_API_KEY  Wix key  IST\.eyJ[\w-]{100,}\.[\w-]{20,}\.[\w-]{20,}
apify-token  APIFY_TOKEN  Apify token  apify_api_[A-Za-z0-9]{34,46}
ramp-secret  RAMP_SECRET  Ramp secret  ramp_(?:sec|id)_[A-Za-z0-9]{30,60}
recharge-token  RECHARGE_TOKEN  Recharge token  sk_(?:\d)?x\d_[0-9a-f]{64}
# Social
facebook-token  FACEBOOK_ACCESS_TOKEN  Facebook access token  EAA[MCDHBA][A-Za-z0-9]{50,400}
instagram-token  INSTAGRAM_ACCESS_TOKEN  Instagram access token  IG(?:QV|AA)[\w-]{60,250}
twitter-bearer-token  TWITTER_BEARER_TOKEN  X bearer token  A{20,24}[A-Za-z0-9%]{60,120}  words=AAAAAAAAAAAAAAAAAAAA
    check=padded
dropbox-token  DROPBOX_ACCESS_TOKEN  Dropbox token  sl\.(?:u\.)?[\w=-]{100,}
spotify-token  SPOTIFY_ACCESS_TOKEN  Spotify access token  BQ[\w-]{130,250}  check=random
"""

NEARBY = r"""
discord-client-secret  DISCORD_CLIENT_SECRET  Discord client secret  discord  [\w=-]{32}
discord-client-id  DISCORD_CLIENT_ID  Discord client id  discord  [0-9]{18,19}
discord-public-key  DISCORD_PUBLIC_KEY  Discord key  discord  [0-9a-f]{64}
twilio-auth-token  TWILIO_AUTH_TOKEN  Twilio auth token  twilio,auth token,auth_token,authtoken  [0-9a-f]{32}
mailgun-private-key  MAILGUN_API_KEY  Mailgun key  mailgun  (?:[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}|[A-Za-z0-9-]{72})
mailchimp-legacy-key  MAILCHIMP_API_KEY  Mailchimp key  mailchimp  [0-9a-f]{32}
mandrill-key  MANDRILL_API_KEY  Mandrill key  mandrill  (?:md-)?[\w-]{22}
mailjet-key  MAILJET_API_KEY  Mailjet key  mailjet  (?:[0-9a-f]{32}|[A-Za-z0-9]{87}=)
sparkpost-key  SPARKPOST_API_KEY  SparkPost key  sparkpost  [0-9a-f]{40}
postmark-token  POSTMARK_TOKEN  Postmark token  postmark  UUID
sendbird-token  SENDBIRD_TOKEN  Sendbird token  sendbird  [0-9a-f]{40}
sendbird-app-id  SENDBIRD_APP_ID  Sendbird application id  sendbird  UUID
messagebird-key  MESSAGEBIRD_KEY  MessageBird key  messagebird,message_bird,message-bird  (?:[A-Za-z0-9]{25}|UUID)
nexmo-secret  NEXMO_API_SECRET  Vonage secret  nexmo,vonage  [A-Za-z0-9]{8,16}
plivo-token  PLIVO_AUTH_TOKEN  Plivo token  plivo  [\w-]{40}
pushover-token  PUSHOVER_TOKEN  Pushover token  pushover  [a-z0-9]{30}
paypal-client-secret  PAYPAL_CLIENT_SECRET  PayPal client secret  paypal  (?:E[\w-]{79}|A[\w-]{79})
freemius-key  FREEMIUS_SECRET_KEY  Freemius secret key  secret_key  sk_[^\s'"]{29}
braintree-key  BRAINTREE_PRIVATE_KEY  Braintree private key  braintree  [0-9a-f]{32}
plaid-secret  PLAID_SECRET  Plaid secret  plaid  [0-9a-z]{30}
plaid-client-id  PLAID_CLIENT_ID  Plaid client id  plaid  [0-9a-z]{24}
coinbase-access-token  COINBASE_TOKEN  Coinbase token  coinbase  [\w-]{64}
kraken-key  KRAKEN_API_SECRET  Kraken secret  kraken  [A-Za-z0-9/=+-]{80,90}
kucoin-key  KUCOIN_API_KEY  KuCoin key  kucoin  (?:[0-9a-f]{24}|UUID)
bittrex-key  BITTREX_API_KEY  Bittrex key  bittrex  [A-Za-z0-9]{32}
bitfinex-key  BITFINEX_API_KEY  Bitfinex key  bitfinex  [A-Za-z0-9_-]{43}
bitmex-key  BITMEX_API_KEY  BitMEX key  bitmex  [\w-]{24,48}
bybit-key  BYBIT_API_KEY  Bybit key  bybit  [A-Za-z0-9]{18,36}
coinapi-key  COINAPI_KEY  CoinAPI key  coinapi  UUID
etherscan-key  ETHERSCAN_API_KEY  Etherscan key  etherscan,bscscan,polygonscan  [A-Z0-9]{34}
infura-key  INFURA_KEY  Infura key  infura  [0-9a-f]{32}
alchemy-key  ALCHEMY_KEY  Alchemy key  alchemyapi,alchemy.com,alchemy_api  [\w-]{32}
etsy-key  ETSY_API_KEY  Etsy key  etsy  [a-z0-9]{24}
finicity-key  FINICITY_API_KEY  Finicity key  finicity  (?:[0-9a-f]{32}|[A-Za-z0-9]{20})
freshbooks-token  FRESHBOOKS_TOKEN  FreshBooks token  freshbooks  [0-9a-z]{64}
freshdesk-key  FRESHDESK_KEY  Freshdesk key  freshdesk  [A-Za-z0-9]{20}
zendesk-secret  ZENDESK_SECRET  Zendesk token  zendesk  [A-Za-z0-9]{40}
hubspot-key  HUBSPOT_API_KEY  HubSpot key  hubspot,hapi  UUID
intercom-key  INTERCOM_KEY  Intercom key  intercom  [\w=-]{60}
pipedrive-token  PIPEDRIVE_TOKEN  Pipedrive token  pipedrive  [A-Za-z0-9]{40}
salesforce-secret  SALESFORCE_TOKEN  Salesforce token  salesforce,sfdc  (?:00D[\w]{12,15}![\w.]{80,120}|[A-Za-z0-9]{24})
squarespace-token  SQUARESPACE_TOKEN  Squarespace token  squarespace  UUID
segment-key  SEGMENT_WRITE_KEY  Segment key  segment_write,segmentio,segment_api,segment.com  [A-Za-z0-9]{32,48}
mixpanel-secret  MIXPANEL_SECRET  Mixpanel secret  mixpanel  [0-9a-f]{32}
amplitude-key  AMPLITUDE_API_KEY  Amplitude key  amplitude_api,amplitude.com,amplitude.init  [0-9a-f]{32}
facebook-secret  FACEBOOK_APP_SECRET  Facebook app secret  facebook,fb_app,fb_secret,fb_api  [0-9a-f]{32}
facebook-app-token  FACEBOOK_APP_TOKEN  Facebook app token  facebook,fb_,graph.,access_token
    \d{15,16}(?:\||%7C)[\w-]{27,40}
instagram-legacy-token  INSTAGRAM_TOKEN  Instagram token  instagram,ig_  [0-9]{8,11}\.[0-9a-f]{7}\.[0-9a-f]{32}
twitter-api-key  TWITTER_API_KEY  X API key  twitter,tweepy,consumer_key,consumer key,consumerkey  [A-Za-z0-9]{25}
twitter-api-secret  TWITTER_API_SECRET  X API secret  twitter,tweepy,consumer_secret,consumer secret,consumersecret
    [A-Za-z0-9]{50}
twitter-access-token  TWITTER_ACCESS_TOKEN  X access token  twitter,tweepy,access_token,access token,accesstoken
    [0-9]{8,20}-[A-Za-z0-9]{20,40}
twitter-access-secret  TWITTER_ACCESS_SECRET  X access token secret
    twitter,tweepy,access_token_secret,access_secret,accesstokensecret,token_secret  [A-Za-z0-9]{45}
linkedin-secret  LINKEDIN_CLIENT_SECRET  LinkedIn client secret  linkedin,linked_in,linked-in
    (?:[A-Za-z0-9]{16}|WPL_AP1\.[A-Za-z0-9]{16}\.[A-Za-z0-9+/=]{8})
linkedin-client-id  LINKEDIN_CLIENT_ID  LinkedIn client id  linkedin,linked_in,linked-in  [a-z0-9]{14}
flickr-token  FLICKR_API_KEY  Flickr key  flickr  [0-9a-z]{32}
flickr-secret  FLICKR_SECRET  Flickr secret  flickr  [0-9a-f]{16}
spotify-secret  SPOTIFY_CLIENT_SECRET  Spotify client secret  spotify,spotipy  [0-9a-f]{32}
twitch-token  TWITCH_TOKEN  Twitch token  twitch  [a-z0-9]{30}
lastfm-key  LASTFM_API_KEY  Last.fm key  lastfm,last_fm,last.fm,pylast  [0-9a-f]{32}
genius-token  GENIUS_ACCESS_TOKEN  Genius token  genius  [\w-]{64}
tmdb-key  TMDB_API_KEY  TMDB key  tmdb,themoviedb  [0-9a-f]{32}
strava-secret  STRAVA_CLIENT_SECRET  Strava secret  strava  [0-9a-f]{40}
unsplash-key  UNSPLASH_ACCESS_KEY  Unsplash key  unsplash  [\w-]{43}
yelp-key  YELP_API_KEY  Yelp key  yelp  [\w-]{128}
foursquare-key  FOURSQUARE_CLIENT_SECRET  Foursquare secret  foursquare,client_id,client_secret,fsq
    (?:[A-Z0-9]{48}|fsq3[\w+/=-]{44})
nytimes-key  NYTIMES_API_KEY  New York Times key  nytimes,new_york_times,new-york-times,newyorktimes,nyt_  [\w=-]{32}
guardian-key  GUARDIAN_API_KEY  Guardian key  guardian  UUID
dropbox-secret  DROPBOX_APP_SECRET  Dropbox app secret  dropbox  [a-z0-9]{15}
dropbox-legacy-token  DROPBOX_ACCESS_TOKEN  Dropbox token  dropbox  (?:[a-z0-9]{11}AAAAAAAAAA[\w=-]{43}|[\w-]{64})
box-secret  BOX_CLIENT_SECRET  Box client secret  box_client,box_api,boxsdk,box-client,boxtoken,box_token
    [A-Za-z0-9]{32}
here-key  HERE_API_KEY  HERE key  here_api,hereapi,heremaps,here.com  [\w-]{43}
locationiq-key  LOCATIONIQ_KEY  LocationIQ key  locationiq  pk\.[a-z0-9]{32}
opencage-key  OPENCAGE_KEY  OpenCage key  opencage  [0-9a-f]{32}
todoist-token  TODOIST_TOKEN  Todoist token  todoist  [0-9a-f]{40}
telegram-token  TELEGRAM_TOKEN  Telegram bot token  telegram  \d{8,10}:[\w-]{35}  check=bot
telegram-api-hash  TELEGRAM_API_HASH  Telegram API hash  telethon,pyrogram,api_hash,telegram  [0-9a-f]{32}
vk-token  VK_TOKEN  VK token  vk_api,vk.com,vk_token  (?:vk1\.a\.[\w-]{80,250}|[0-9a-f]{85})
wechat-secret  WECHAT_APP_SECRET  WeChat secret  wechat,weixin,wx_app  [0-9a-f]{32}
jenkins-token  JENKINS_API_TOKEN  Jenkins token  jenkins  (?:11)?[0-9a-f]{32}
adobe-client-id  ADOBE_CLIENT_ID  Adobe client id  adobe  [0-9a-f]{32}
adafruit-key  ADAFRUIT_KEY  Adafruit key  adafruit  [a-z0-9_-]{32}
docusign-key  DOCUSIGN_KEY  DocuSign key  docusign  UUID
zoom-secret  ZOOM_CLIENT_SECRET  Zoom secret  zoom_client,zoom_api,zoom.us  [A-Za-z0-9]{32}
"""

"""Web services whose keys have no prefix: a random value of 20 to 100 characters beside the name is one."""

# Names that are no ordinary words, as their owners write them without spaces, lower case.
SERVICES = """
abuseipdb abstractapi abyssale adzuna aeroworkflow airbrake airship airvisual aiven alegra aletheiaapi ambee anypoint
apacta api2cart apideck apiflash apifonica apify apilayer apimatic apimetrics apitemplate apollo.io appcues appfollow
appointedd appoptics appsynergy apptivo atera audd autodesk autoklose avazapersonal aviationstack axonaut aylien
ayrshare bannerbear baremetrics beebole besnappy besttime betterstack billomat bitbar bitcoinaverage bitly blazemeter
blitapp blocknative bombbomb boostnote borgbase brandfetch browserstack browshot buddyns budibase bugherd bulbul
bulksms buttercms caflou calendarific calendly calorieninja campayn cannyio capsulecrm captaindata carboninterface
cashboard caspio centralstationcrm cexio chartmogul chatfule checklyhq checkvist cicero clarifai clearbit clickhelp
clickhouse clicksend clickup clientary clinchpad clockify clockworksms closecrm cloudconvert cloudelements cloudimage
cloudmersive cloudplan cloudsmith cloverly cloze clustdoc codacy codeclimate codequiry coinlayer coinlib
coinmarketcap commercejs companyhub conversiontools convertapi convertkit convier couchbase countrylayer craftmypdf
crowdin cryptocompare currencycloud currencyfreaks currencylayer currencyscoop currentsapi customerguru customerio
d7network dailyco dareboost databox datafire datagov debounce deepai demio deputy detectify
detectlanguage dfuse diffbot diggernaut disqus dnscheck docparser documo dotdigital dovico dronahq duply dwolla
dynadot dynalist eagleeyenetworks easyinsight edamam edenai elasticemail elasticpath enablex endorlabs enigma
ethplorer eventbrite everhour exchangerateapi exchangeratesapi exportsdk extractorapi facepp fastforex feedier
fetchrss fibery financialmodelingprep finage fixer.io fixerio flatio fleetbase flexport flightapi flightlabs
flightstats flowflu fmfw formbucket formcraft formio formsite fxmarket geckoboard gengo geoapify geocodify geocodio
geoipifi getgeoapi getgist getresponse getsandbox glassnode gocanvas goodday graphhopper groovehq gtmetrix gumroad
gyazo happyscribe hellosign helpcrunch helpscout heymarket holidayapi html2pdf hunter.io hunter hybiscus
hypertrack iconfinder iexapis iexcloud imagekit imagga insightly instabot instamojo interseller intrinio invoiceocean
ip2location ipapi ipgeolocation ipify ipinfo ipinfodb ipquality ipstack jotform jupiterone kanbantool karmacrm keenio
kickbox klaviyo klipfolio knapsackpro kontent kylas languagelayer leadfeeder lendflow lessannoyingcrm lexigram
linkpreview liveagent livestorm loadmill loginradius lokalise loyverse lunchmoney madkudu magicbell mailboxlayer
mailerlite mailmodo mailsac mapquest marketstack mavenlink meaningcloud mediastack meistertask mesibo metaapi metrilo
mindmeister miro mixmax monkeylearn moonclerk moosend moralis mrticktock myfreshworks myintervals nethunt
neutrinoapi newscatcher nftport nicereply nightfall nimble noticeable nozbeteams numverify nutritionix nylas omnisend
onedesk onepagecrm onesignal onfleet oopspam opengraphr openuv openweathermap optimizely overloop owlbot
packagecloud pagarme pandadoc pandascore paperform paralleldots parsehub parseur partnerstack pastebin paydirt
paymoapp paymongo pdflayer pdfshift peopledatalabs pepipost photoroom pinata pipedream pivotaltracker pixabay
planviewleankit planyo podio pollsapi poloniex portainer positionstack postageapp postbacks powrbot prodpad
prospectcrm protocolsio proxycrawl pubnub purestake pusher qase qualaroo qubole rawg razorpay reachmail rebrandly
rechargepayments refiner rentman repairshopr replyio requestfinance restpack ringcentral ritekit rocketreach route4me
rownd runrunit salesblink salescookie salesflare salesloft salesmate satismeter saucelabs scalr scrapeowl scraperapi
scraperbox scrapestack scrapfly scrapingant scrapingbee screenshotapi screenshotlayer scrutinizer securitytrails
selectpdf serpstack serphouse sheety sherpadesk shipday shotstack shutterstock sigopt simfin simplesat simplybook
simvoly sinchmessage sirv siteleaf skrappio skybiometry smartsheet smartystreets snipcart speechtextai spoonacular
sportsmonk sslmate statuscake statuspage statuspal stitchdata stockdata storecove stormboard stormglass storychief
stripo stytch sugester supernotes surveyanyplace surveybot surveysparrow survicate swiftype tallyfy tatum.io tatumio
taxjar teamgate technicalanalysis teletype testingbot text2data textmagic theoddsapi thinkific thousandeyes
ticketmaster timecamp timezoneapi tmetric tokeet tomorrowio tomtom tradier transferwise travelpayouts twelvedata
tyntec typetalk ubidots uclassify unifyid unplugg upcdatabase uplead uploadcare uptimerobot upwave urlscan userflow
userstack vagrantcloud vatlayer vbout verimail veriphone versioneye viewneo visualcrossing voiceflow voicegain
voodoosms vouchery vpnapi vyte walkscore weatherbit weatherstack web3storage webex webflow webscraper webscraping
amadeus polygon nasdaq wakatime exchangerate giphy monday coda magnetic delighted
mixpanel pagerduty opsgenie rollbar bugsnag honeybadger loggly todoist vultr linode shodan virustotal censys mailjet
sparkpost postmark plivo pushover freshdesk pipedrive typeform mandrill infura fullcontact bitfinex bitmex
whoxy wistia wit.ai worksnaps workstack worldcoinindex worldweather wrike yandex youneedabudget yousign zapier zenkit
zenrows zenscrape zenserp zeplin zerobounce zipapi zipbooks zipcodeapi zipcodebase zonka zulip
"""
FORM = r"[A-Za-z0-9_-]{20,100}"

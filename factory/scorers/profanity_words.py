"""Swear words and slurs, by language: what the scorer `profanity` looks for.

They stand here so that texts which hold them can be kept out of a dataset, and for nothing else. The lists are modest
on purpose: words that seldom have an innocent sense. `*` at the end stands for any further letters. What swears in one
language is often innocent in another (German "dick" is thick, Spanish "con" is with), so that every language has a
list of its own; the words of `EVERYWHERE` mean the same in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

EVERYWHERE = """
fuck* motherfuck* mothafuck* muthafuck* clusterfuck* unfuck* shit shits shitty shitting shithead* shithole* bullshit*
horseshit dipshit* cunt cunts bitch bitches bitchy nigger* nigga niggas niggaz asshole* cocksuck*
"""

WORDS: Mapping[str, str] = {
    "en": """
ass asses arse arses arsehole* asshat* asswipe* dumbass* jackass* smartass* dick dicks dickhead* cock cocks pussy
pussies twat twats wank wanks wanking wanker* tosser* bollocks bastard bastards goddamn* slut sluts slutty whore*
skank skanks tits titties piss pissed pissing crap crappy shitfaced shitload* shitshow jizz cumshot* blowjob* handjob*
douchebag* fag fags faggot* tranny trannies retard retards retarded kike kikes spic spics wetback* chink chinks gook
gooks raghead* towelhead* coon coons paki pakis darkie* jigaboo* shemale*
""",
    "de": """
scheiß* scheiss* beschissen* verschissen* arsch ärsche arschloch* arschlöcher* arschgesicht* arschgeige* arschkriecher*
arschficker* fick ficken fickt fickst gefickt ficker* verfickt* fotze* hure huren hurensohn* hurensöhn* nutte nutten
schlampe schlampen wichser* wichsen wichst gewichst wixer* wixxer* miststück* drecksau* dreckskerl* dreckschwein*
drecksschwein* mistkerl* saukerl* schwanzlutscher* schwuchtel* missgeburt* spast spasten spasti spastis mongo mongos
kanake* kanacke* neger* zigeunerpack* judensau* untermensch* verpiss* pisser pimmel titten möse hackfresse* kackbratze*
""",
    "fr": """
merde merdes merdeux merdique* emmerde* emmerder* putain putains pute putes putasse* salope* salopard* salaud* connard*
connasse* conne connerie* con cons enculé* encule* niquer nique niquent niqué ntm foutre bordel bite bites couille*
couillon* branleur* branleuse* branler chier chieur* chiant* chiotte* pédé pédés pédale* gouine* tarlouze* bougnoule*
bicot* nègre* négro* négresse* youpin* youtre* chinetoque* bamboula* fdp
""",
    "es": """
mierda* joder jodido* jodida* jódete jodete jodiendo puta putas puto putos putada* hijoputa* hijueputa* hijodeputa coño
coños cabrón cabron cabrones cabrona* gilipollas pendejo* pendeja* chingar chingada* chingado* chinga verga vergas
culero* culera* polla pollas follar maricón maricon maricones marica maricas mariconada* bollera* cojones cojonudo*
huevón carajo mamada mamadas mamón puñetero* puñetera* sudaca* malparido* boludo* pelotudo* conchetumadre conchudo*
""",
    "it": """
cazzo cazzi cazzata* cazzone* incazz* minchia* minchione* stronzo stronzi stronza stronze stronzata* merda merde
vaffanculo* fanculo affanculo inculare inculato* culo culi coglione* coglioni puttana* puttane puttanata* troia troie
zoccola* mignotta* bagascia* figa fica fottere fottuto* fottuta* fottiti sborra* pompino* pompini frocio froci
ricchione* culattone* checca checche negro negri negra terrone* terroni mongoloide* bastardo bastardi bastarda porcodio
diocane
""",
    "pt": """
merda merdas caralho* porra porras foda fodas foder fodido* fodida* puta putas putaria* puteiro* filhodaputa fdp cu cus
cuzão cuzona buceta* boceta* xoxota* xereca* cacete piroca* punheta* punheteiro* boquete* viado* viadinho* sapatão
traveco* arrombado* arrombada* babaca* otário* otária* vadia vadias cabrão cabrões cona conas paneleiro* fufa fufas
""",
}

NAMES = frozenset({"dick", "cock", "coon", "coons", "con", "troia", "cu", "negro"})
"""Also names: where such a word begins with a capital letter (and is not all in capitals) it is not counted."""

INNOCENT = (
    "cock-a-doodle", "cock a doodle", "cock crow", "cocks crow", "cock crew", "fighting cock", "weather-cock",
    "weather cock", "stop-cock", "stop cock", "pussy willow", "pussy-willow", "pussy cat", "pussy-cat", "maine coon",
    "spic and span", "chink in", "chinks in", "chink of light", "retard the", "retards the", "flame retard",
    "fire retard", "retarded potential", "retarded time", "blue tits", "great tits", "coal tits", "marsh tits",
    "wild ass", "wild asses", "ass's milk", "asses' milk", "ox and ass", "ox and the ass", "ox or ass", "bastard sword",
    "con brio", "con fuoco", "con moto", "con sordino",
)  # fmt: skip
"""Phrases in which a listed word means something else."""

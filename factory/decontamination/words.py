"""Word lists: small numbers, and words that are capitalised without being names."""

from __future__ import annotations

_SMALL = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty
"""
NUMBER_WORDS = {word: value for value, word in enumerate(_SMALL.split())} | {
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
    "hundred": 100,
    "thousand": 1000,
    "million": 1000000,
    "dozen": 12,
    "half": 0.5,
    "quarter": 0.25,
    "twice": 2,
    "double": 2,
    "triple": 3,
}
"""Words for numbers, with what they are compared as."""

NAME_FREE = """
a about above according add after afterward again all along also although always am an and another any apart are as
ask assume assuming at back based be because been before being below beside besides between both but by calculate
can choose compare complete compute consider considering could create day days describe despite determine did do
does doing down draw due during each earlier eight either else estimate even eventually every everyone everything
evaluate except explain express few finally find first five following for four from further furthermore generate
give given had half has have he hence her here hers herself him himself his how however i if identify imagine in
include including initially inside instead into is it its itself just last later let like list look made make many
may maybe me meanwhile might more moreover most much must my myself name near neither never next nine no nobody none
nor not nothing now of off often on once one only onto or other otherwise our ours out outside over per perhaps
please prove rather read recently regarding remember return rewrite same second select seven several she should show
similarly simplify since six so solve some someone sometimes soon state still such summarize suppose take tell ten
than that the their theirs them then there therefore these they third this those though three through throughout
thus to today together tomorrow tonight too total toward translate true false twenty two under unless unlike until
up upon us use using usually very was we well were what whatever when whenever where whereas wherever whether which
while who whoever whole whom whose why will with within without would write yes yesterday yet you your yours
yourself answer question options option input output note example statement monday tuesday wednesday thursday friday
saturday sunday january february march april may june july august september october november december
"""
"""Words that often stand first in a sentence, and the names of days and months."""

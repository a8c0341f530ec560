"""What assistants write when they refuse, speak of themselves or wrap up: patterns over lower-case text, by language.

Every pattern is a list of alternatives; `{0,n}` bounds keep each attempt short, so that all are linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def _any(alternatives: Iterable[str]) -> str:
    return "(?:" + "|".join(alternatives) + ")"


# Of itself: at the start of a clause anywhere. A text without one of these words is not searched.
SELF_HINTS = (
    ("language model", "an ai", "being ai", "artificial intelligence", "my training", "my programming", "my knowledge"),
    ("knowledge cutoff", "as of my", "als ki", "als eine ki", "als ai", "als een ai", "sprachmodell", "taalmodel"),
    ("modèle de langage", "qu'ia", "intelligence artificielle", "assistant ia", "modelo de l", "como ia", "una ia"),
    ("uma ia", "inteligencia artificial", "inteligência artificial", "modello linguistico", "intelligenza artificiale"),
    ("come ia", "językowy", "sztuczna inteligencja", "языковая модель", "искусственный интеллект", "как ии"),
    ("语言模型", "人工智能", "ai助手", "言語モデル", "aiアシスタント", "언어 모델", "언어모델", "인공지능"),
)
HINTS = tuple(hint for group in SELF_HINTS for hint in group)
SELF_WORDS = frozenset(
    ("ai", "llm", "ki", "ia", "training", "programming", "knowledge", "last")  # "as of my last", "my training data"
)
SELF_PARTS = ("model", "artifi", "sztuczn")


def speaks_of_itself(word: str) -> bool:
    """Whether a word may be one of those that every match of `SELF` in ASCII has one of."""
    return any(part in word for part in SELF_PARTS) or not SELF_WORDS.isdisjoint(word.split("'"))


PARTS = ("model", "artifi", "sztuczn", " ai", "'ia", " ia", " ki", "of my", "my ", "knowledge cutoff")
"""What hints share: each that is ASCII holds one of these parts."""


def _by_part(hints: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The hints by the first part that they hold; one without a part is its own."""
    found: dict[str, list[str]] = {}
    for hint in hints:
        found.setdefault(next((part for part in PARTS if part in hint), hint), []).append(hint)
    return tuple((part, tuple(held)) for part, held in found.items())


ALL_HINTS_BY_PART = _by_part(HINTS)
HINTS_BY_PART = _by_part(filter(str.isascii, HINTS))
_KIND = r"(?:ai|artificial intelligence|language model|llm)\b"
_KIND_TAIL = r"(?:[ -](?:powered|based))?(?: (?:language )?(?:model|assistant|chatbot|system))?"
CLAUSE = r"(?:^|[.!?:;,\n(—–-]\s{0,3}|\b(?:but|and|that|because|since|aber|mais|pero|mas|ma)\s)"
SELF = re.compile(
    CLAUSE
    + _any(
        (
            rf"(?:as|being) (?:an? )?(?:large |helpful )?{_KIND}{_KIND_TAIL}\s{{0,2}}(?:,|i\b|my\b|developed|trained)",
            r"(?:as|being) an? (?:large )?language model\b",
            rf"i(?:'m| am) (?:just |only )?an? (?:large )?{_KIND}{_KIND_TAIL}(?:,|\.|$| and (?:can|do)| (?:so|that))",
            r"(?:my (?:training data|knowledge cutoff|programming)|as of my (?:last|knowledge|training)) ",
            r"als (?:eine? )?(?:ki|ai)\b",
            r"als (?:gro(?:ß|ss)es )?(?:ki-?)?sprachmodell",
            r"als (?:een )?(?:ai\b|taalmodel|ai-taalmodel)",
            r"en tant qu(?:e modèle de langage|'ia\b|'intelligence artificielle|'assistant ia)",
            r"como (?:un |una |um |uma )?(?:modelo de (?:lenguaje|linguagem)|ia\b|intelig[eê]ncia artificial)",
            r"(?:come|in quanto) (?:un |una )?(?:modello linguistico|ia\b|intelligenza artificiale)",
            r"jako (?:model językowy|sztuczna inteligencja)",
            r"(?:я|как) (?:языковая модель|ии\b|искусственный интеллект)",
            r"(?:作为|我只?是)(?:一个|一名|一种|一款)?(?:大型)?(?:ai|人工智能|语言模型)",
            r"(?:ai|大規模)?言語モデル(?:として|です|なので)",
            r"aiアシスタントとして",
            r"(?:저는 )?(?:ai |인공지능 )?언어 ?모델(?:로서|이기)",
            r"인공지능(?:으로서|이기)",
        )
    ),
    re.MULTILINE,
)

# Refusals: only where a text or a column opens with one, so that people in stories may say no.
_SORRY = _any(
    (
        r"(?:i(?:'m| am) |we(?:'re| are) )?(?:(?:very |so |really |truly )?sorry|afraid)",
        r"unfortunately|(?:my )?apologies|i apologi[sz]e",
    )
)
_CANNOT = _any(
    (
        r"can(?:'t|not| not)|could(?:n't| not)|won't|will not|(?:must|have to) decline to",
        r"(?:am|'m) (?:not able|unable|not allowed|not permitted|not going) to",
        r"do(?:n't| not) feel comfortable",
    )
)
_OBJECT = _any(
    (
        r"(?:you|any|such|this|that|a response|content|information|instructions|assistance|advice|guidance)\b",
        r"the (?:requested|information|content)|explicit|harmful|medical|legal|financial",
    )
)
_TASK = _any(
    (
        r"(?:help|assist)(?: you)?(?: with| in\b|\.|,|$)",
        r"(?:fulfil?l?|comply|complete|process|answer|accommodate)(?: with)? (?:this|that|your|the|any|such)"
        r" (?:request|question|prompt|task|query)",
        r"comply\b",
        rf"(?:provide|generate|create|write|produce|offer|discuss|engage in|participate in|respond to) {_OBJECT}",
        r"(?:provid|generat|creat|writ|produc|discuss|engag)ing",
    )
)
_MARKS = r"[,.:;!—–-]{0,2}\s{0,3}"
_PAUSE = r"[,.]?\s{0,3}"
OPENING = re.compile(
    r"[^\w\"“„«「『]{0,8}"
    + _any(
        (
            rf"(?:{_SORRY}{_MARKS}(?:but |and |that |however,? )?)?i ?{_CANNOT}[^.!?\n]{{0,30}}?\b{_TASK}",
            rf"{_SORRY}{_MARKS}(?:but )?that(?:'s| is) (?:not )?something i {_CANNOT}",
            rf"{_SORRY}{_MARKS}(?:but )?i must (?:decline|refuse)",
            r"i (?:must|have to|need to) (?:respectfully |politely )?(?:decline|refuse)\b",
            rf"(?:es tut mir leid|tut mir leid|entschuldigung|leider){_PAUSE}(?:aber )?(?:"
            r"(?:ich )?kann (?:ich )?(?:ihnen |dir |euch )?(?:dabei|damit|bei dieser|hierbei|darauf|diese anfrage)\b"
            r"|(?:dabei|damit|hierbei|darauf) kann ich\b)",
            rf"(?:je suis (?:vraiment )?)?désolée?{_PAUSE}(?:mais )?je ne (?:peux|puis|suis) (?:pas )?"
            r"(?:vous |t'|en mesure |répondre|fournir|aider|générer|traiter|satisfaire)",
            rf"(?:lo siento|lamento){_PAUSE}(?:pero )?no (?:puedo|es posible|me es posible) "
            r"(?:ayudar|proporcionar|generar|cumplir|responder|asistir|ofrecer|crear|escribir|brindar)",
            rf"(?:mi dispiace|spiacente){_PAUSE}(?:ma )?non (?:posso|sono in grado di) "
            r"(?:aiutar|fornir|generar|rispondere|assister|soddisfare|creare|scrivere)",
            rf"(?:desculpe|sinto muito|lamento){_PAUSE}(?:mas )?(?:eu )?não (?:posso|consigo) "
            r"(?:ajudar|fornecer|gerar|responder|atender|criar|escrever|auxiliar)",
            rf"(?:het spijt me|sorry){_PAUSE}(?:maar )?(?:ik )?kan (?:ik )?(?:je |u )?"
            r"(?:hier|daar|dit|deze)[^.\n]{0,40}(?:helpen|beantwoorden|geven|schrijven|maken)",
            rf"(?:przepraszam|przykro mi){_PAUSE}(?:ale )?nie mogę "
            r"(?:pomóc|spełnić|odpowiedzieć|udzielić|wygenerować|napisać)",
            rf"(?:извините|простите|к сожалению|мне жаль){_PAUSE}(?:но )?я не (?:могу|в состоянии) "
            r"(?:помочь|выполнить|предоставить|ответить|создать|написать|обсуждать)",
            r"(?:很?抱歉|对不起|對不起)[，,。!！]?\s{0,2}(?:但)?我?(?:无法|無法|不能|没有办法|不便)"
            r"(?:为您|帮|協助|协助|提供|回答|满足|完成|生成|回应|继续|讨论|执行|写)",
            r"(?:申し訳(?:ございません|ありません)が|すみませんが|ごめんなさい)、?[^。\n]{0,40}"
            r"(?:お手伝い|お答え|提供|ご要望|対応|生成|作成)[^。\n]{0,12}(?:できません|いたしかねます|できかねます)",
            r"죄송(?:하지만|합니다만|합니다)[,.]?\s{0,3}[^.\n]{0,40}(?:도와|제공|답변|응답|생성|작성)[^.\n]{0,12}"
            r"(?:수 없|드릴 수 없|어렵)",
        )
    )
)

# What an assistant puts before and after what was asked for.
_THING = "(?:question|answer|response|message|review|version|example|problem|text|story|rewrite|draft|options?|list)"
PREFACE = re.compile(
    r"\W{0,4}"
    + _any(
        (
            r"(?:sure|certainly|of course|absolutely|okay|great)(?: thing)?[!,.]{1,2} {0,2}"
            r"(?:here(?:'s| is| are)|below (?:is|are)|i(?:'d| would) be happy to|let me)\b",
            rf"here(?:'s| is| are) (?:an?|the|your|my|some) [^\n:]{{0,60}}\b{_THING}\b",
        )
    )
    + r"[^\n:]{0,100}:[ \t]{0,4}(?:\*\*)?(?:\n|$)"
)
CLOSING = re.compile(
    r"(?:^|[.!?\n])\s{0,4}"
    + _any(
        (
            r"let me know if you(?:'d| would) like (?:me to|any (?:changes|adjustments|revisions|modifications))",
            r"would you like me to (?:adjust|revise|change|modify|add|write|create|generate|make|expand)",
            r"feel free to (?:adjust|modify|customi[sz]e|adapt|ask (?:me )?for)",
            r"i hope this (?:meets your|answers your|fulfil?ls)",
            r"(?:please )?note that (?:this|the above) (?:is|was) (?:a |an )?(?:generated|fictional|ai)",
        )
    )
)
OFFERS = ("let me know", "would you like", "feel free", "i hope this", "note that")
"""Each match of `CLOSING` holds one of these."""

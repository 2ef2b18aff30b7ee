"""What is plain from a message's words alone: a wish for a person, anger, a greeting. No model is asked."""

import re

_PERSON_NOUN = (
    r"(?:human|person|people|someone real|real (?:person|human|people)|actual (?:person|human)|(?:live |real )?agent|"
    r"representative|(?:your |the |a )?(?:manager|supervisor|boss)|operator|advisor|adviser|"
    r"somebody (?:real|human)|someone (?:human|proper)|(?:member of )?staff|colleague|employee|"
    r"support (?:team|staff|person)|customer (?:service|support|care))"
)
_PERSON = re.compile(
    "|".join(
        (
            # English
            rf"\b(?:talk|speak|chat|write|put|connect|transfer|pass|hand|get|give|want|need|let|call|may i have|like)\b"
            rf"[^.?!]{{0,40}}?\b(?:to|with|me|through|over|for|a|an|some|any|the)\b[^.?!]{{0,20}}?\b{_PERSON_NOUN}\b",
            rf"^\W*(?:a |an |the )?(?:real |live |actual )?(?:{_PERSON_NOUN})(?:\W+(?:please|pls|plz|now))?\W*$",
            rf"^\W*(?:{_PERSON_NOUN}\W+){{2,}}",
            r"\b(?:is|are) (?:there|you) (?:any|some|a real|a human|a person|an? actual)(?:one|body)?\b[^.?!]{0,25}"
            r"(?:human|person|real|there)",
            r"\b(?:ring|call|phone) me(?: back)?\b|\bcall[- ]?back\b|\bsomebody (?:to )?(?:call|ring)\b",
            r"\b(?:no|stop|not) (?:more )?(?:bot|robot|machine|chatbot)s?\b",
            r"\bhate (?:talking to )?(?:bot|machine|robot)s\b",
            r"\bhuman being\b|\bwith a pulse\b|\bflesh and blood\b|\bnot (?:to )?a (?:machine|bot|robot|computer)\b",
            # German
            r"\b(?:mensch(?:en)?|mitarbeiter(?:in|s)?|kundendienst|kundenservice|berater(?:in)?|sachbearbeiter(?:in)?|"
            r"vorgesetzten?|chef(?:in)?)\b[^.?!]{0,40}\b(?:sprechen|reden|schreiben|verbinden|verbunden|haben|holen|bitte)\b",
            r"\b(?:sprechen|reden|verbinden|möchte|will|brauche|geben|holen)\b[^.?!]{0,40}\b(?:menschen?|mitarbeiter(?:in)?|"
            r"kundendienst|kundenservice|berater(?:in)?|echten? person|jemand(?:em|en)? (?:echte[nms]?|richtige[nms]?|"
            r"vom|am|aus))\b",
            r"\b(?:jemand|wer)\b[^.?!]{0,25}\b(?:anrufen|zurückrufen|sprechen|reden)\b|\bruf(?:en|t)? (?:sie )?mich\b",
            # French
            r"\b(?:parler|discuter|contacter|passer|passez|joindre)\b[^.?!]{0,40}\b(?:humain|personne|conseill(?:er|ère)|agent|"
            r"quelqu'un|responsable|opérat(?:eur|rice))\b",
            # Spanish, Italian, Portuguese, Dutch
            r"\b(?:hablar|comunicar|pasar|contactar)\b[^.?!]{0,40}\b(?:persona|humano|agente|alguien|encargad[oa]|operador)\b",
            r"\b(?:parlare|passare|contattare)\b[^.?!]{0,40}\b(?:persona|umano|operatore|qualcuno|responsabile)\b",
            r"\b(?:falar|conversar)\b[^.?!]{0,40}\b(?:pessoa|humano|atendente|alguém)\b",
            r"\b(?:praten|spreken)\b[^.?!]{0,40}\b(?:mens|medewerker|persoon|iemand)\b|\bmedewerker spreken\b",
        )
    ),
    re.I,
)
_NOT_WANTED = re.compile(
    r"\b(?:don'?t|do not|no need to|without having to|instead of|rather not|did(?:n'?t| not)|used to|yesterday i|"
    r"nicht mit einem|ohne)\b[^.?!]{0,20}\b(?:talk|speak|call|ring|sprechen|reden)",
    re.I,
)

_ANGRY = re.compile(
    r"\b(?:furious|livid|outrag\w+|disgust\w+|disgrace\w*|unacceptable|scandal\w*|ridiculous|pathetic|incompeten\w+|"
    r"useless|idiots?|morons?|liars?|thie(?:f|ves)|crooks?|rip[- ]?off|scam\w*|shame on|sue you|lawyer|fed up|sick of|"
    r"had enough|worst|never again|how dare|bloody|damn|bullshit|crap|shit\w*|fuck\w*|wtf|"
    r"wütend|unverschämt\w*|frechheit|skandal\w*|inakzeptabel|unfähig\w*|sauerei|saftladen|abzocke|betrug|betrüger|"
    r"anwalt|nie wieder|schweinerei|lächerlich|scheiß\w*|verdammt\w*|mies\w*|es reicht|"
    r"inadmissible|honteux|scandaleux|arnaque|inaceptable|vergüenza|estafa)\b",
    re.I,
)
_GREETING = re.compile(
    r"\W*(?:hi+|hey+|hello|hallo|good (?:morning|day|evening|afternoon)|guten (?:tag|morgen|abend)|moin|servus|"
    r"grüß gott|bonjour|salut|hola|buenos días|ciao)(?:[ ,]+(?:there|all|you|zusammen|team|everyone))?\W*",
    re.I,
)
_THANKS = re.compile(
    r"\W*(?:ok(?:ay)?[ ,.!]*)?(?:many )?(?:thanks|thank you|thx|ty|cheers|danke(?: schön| sehr)?|vielen dank|"
    r"merci(?: beaucoup)?|gracias)(?:[ ,]+(?:a lot|so much|very much|bye|tschüss?|"
    r"for (?:that|your help|the help)))?\W*",
    re.I,
)


def wants_person(text: str) -> bool:
    """Whether a message asks for a person outright."""
    return bool(_PERSON.search(text)) and not _NOT_WANTED.search(text)


def anger(text: str) -> int:
    """How loud a message is: angry words, shouting, and rows of exclamation marks count one each."""
    letters = [character for character in text if character.isalpha()]
    capitals = sum(character.isupper() for character in letters)
    shouted = len(letters) >= 12 and capitals > 0.6 * len(letters)
    return len(_ANGRY.findall(text)) + shouted + ("!!" in text or "?!" in text or "??" in text)


def is_greeting(text: str) -> bool:
    """Whether a message is a greeting and nothing else."""
    return bool(_GREETING.fullmatch(text))


def is_thanks(text: str) -> bool:
    """Whether a message is thanks and nothing else."""
    return bool(_THANKS.fullmatch(text))

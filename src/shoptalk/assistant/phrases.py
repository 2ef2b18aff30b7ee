"""The assistant's own sentences, in the visitor's language where it is one of these; `texts` in the settings replaces
them.
"""

import re
from collections.abc import Mapping

_COMMON: Mapping[str, str] = {
    "en": "the is are you and to of what how my in it for do can i a on with have when please not where",
    "de": "der die das ist sind und zu von was wie mein in es für kann ich ein eine auf mit wann bitte nicht wo habe "
    "wir ihr sie den dem gibt man noch wenn mir bei",
    "fr": "le la les est sont et de que quoi comment mon ma dans il pour je un une sur avec quand pas où vous nous des "
    "du puis",
    "es": "el la los las es son y de que qué cómo mi en para puedo yo un una con cuándo no dónde por favor está hay",
}
_COMMON_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_ASKING = (
    "much many does did was were be been will would could should if or but so at by from as this that there they he "
    "she we our your me any some which who why get got take just also too about into out up wer wie viel viele wieviel "
    "als auch noch oder aber"
)
COMMON_WORDS = frozenset(_ASKING.split()).union(*_COMMON_WORDS.values())
"""Words that say next to nothing of what a question is about."""
_WORD = re.compile(r"[^\W\d_]+")
_ARABIC = re.compile(r"[\u0621-\u064a]")
_PERSIAN_OR_URDU = re.compile(r"[\u067e\u0686\u0698\u06af\u06a9\u06cc\u0679\u0688\u0691\u06ba\u06d2]")

PHRASES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "escalate": "I'm passing this on to a person. They will answer here, in this conversation.",
        "escalate_closed": "I'm passing this on to a person. Nobody is at the desk right now; they will answer here as "
        "soon as it opens.",
        "missing": "I could not find that in what I know.",
        "clarify": "I want to be sure that I understand. Is it about one of these?",
        "clarify_plain": "Could you say that in other words, or with a little more detail?",
        "decline": "I can't help with that here.",
        "greeting": "Hello! What would you like to know?",
        "thanks": "You're welcome.",
        "nothing": "I could not read anything in that message. Could you write it again?",
        "picture": "This looks like:",
        "unknown_picture": "I do not recognise this picture. What does it show?",
        "failed": "Something went wrong here, so I have passed your question on to a person, who will answer it "
        "in this conversation.",
        "held": "A person has this conversation and will answer you here.",
        "joined": "A colleague has joined this conversation and will answer you here.",
        "released": "You are talking with the assistant again. You can ask for a person at any time.",
        "back": "Nobody was free to answer just now. You are talking with the assistant again. You can ask for a "
        "person at any time.",
        "closed": "Thank you. This conversation is closed; write again at any time to open it.",
    },
    "de": {
        "escalate": "Ich gebe das an einen Menschen weiter. Die Antwort kommt hier, in diesem Gespräch.",
        "escalate_closed": "Ich gebe das an einen Menschen weiter. Gerade ist niemand da; die Antwort kommt hier, "
        "sobald wieder geöffnet ist.",
        "missing": "Das habe ich in dem, was ich weiß, nicht gefunden.",
        "clarify": "Damit ich es richtig verstehe: Geht es um eines davon?",
        "clarify_plain": "Können Sie das anders oder etwas genauer sagen?",
        "decline": "Dabei kann ich hier nicht helfen.",
        "greeting": "Guten Tag! Was möchten Sie wissen?",
        "thanks": "Gern geschehen.",
        "nothing": "In dieser Nachricht konnte ich nichts lesen. Können Sie sie noch einmal schreiben?",
        "picture": "Das sieht aus wie:",
        "unknown_picture": "Dieses Bild erkenne ich nicht. Was ist darauf zu sehen?",
        "failed": "Hier ist etwas schiefgegangen. Ich habe Ihre Frage an einen Menschen weitergegeben, der sie in "
        "diesem Gespräch beantwortet.",
        "held": "Ein Mensch hat dieses Gespräch übernommen und antwortet Ihnen hier.",
        "joined": "Jemand aus dem Team ist dazugekommen und antwortet Ihnen hier.",
        "released": "Sie sprechen wieder mit dem Assistenten. Sie können jederzeit nach einem Menschen fragen.",
        "back": "Gerade war niemand frei. Sie sprechen wieder mit dem Assistenten und können jederzeit nach einem "
        "Menschen fragen.",
        "closed": "Danke. Dieses Gespräch ist abgeschlossen; wenn Sie wieder schreiben, geht es weiter.",
    },
    "fr": {
        "escalate": "Je transmets votre message à une personne. Elle vous répondra ici, dans cette conversation.",
        "escalate_closed": "Je transmets votre message à une personne. Il n'y a personne en ce moment ; elle vous "
        "répondra ici dès l'ouverture.",
        "missing": "Je ne l'ai pas trouvé dans ce que je sais.",
        "clarify": "Pour être sûr de bien comprendre : s'agit-il de l'un de ces sujets ?",
        "clarify_plain": "Pouvez-vous le dire autrement, ou avec un peu plus de détails ?",
        "decline": "Je ne peux pas vous aider pour cela ici.",
        "greeting": "Bonjour ! Que souhaitez-vous savoir ?",
        "thanks": "Je vous en prie.",
        "nothing": "Je n'ai rien pu lire dans ce message. Pouvez-vous l'écrire à nouveau ?",
        "picture": "Cela ressemble à :",
        "unknown_picture": "Je ne reconnais pas cette image. Que montre-t-elle ?",
        "failed": "Un problème est survenu ici : j'ai transmis votre question à une personne, qui y répondra dans "
        "cette conversation.",
        "held": "Une personne s'occupe de cette conversation et vous répondra ici.",
        "joined": "Un membre de l'équipe a rejoint cette conversation et vous répondra ici.",
        "released": "Vous parlez de nouveau avec l'assistant. Vous pouvez demander une personne à tout moment.",
        "back": "Personne n'était libre à l'instant. Vous parlez de nouveau avec l'assistant et pouvez demander une "
        "personne à tout moment.",
        "closed": "Merci. Cette conversation est close ; écrivez à tout moment pour la rouvrir.",
    },
    "es": {
        "escalate": "Paso su mensaje a una persona. Le responderá aquí, en esta conversación.",
        "escalate_closed": "Paso su mensaje a una persona. Ahora no hay nadie; le responderá aquí en cuanto abramos.",
        "missing": "No lo he encontrado en lo que sé.",
        "clarify": "Para entenderle bien: ¿se trata de uno de estos temas?",
        "clarify_plain": "¿Puede decirlo con otras palabras o con algo más de detalle?",
        "decline": "Aquí no puedo ayudarle con eso.",
        "greeting": "¡Hola! ¿Qué le gustaría saber?",
        "thanks": "De nada.",
        "nothing": "No he podido leer nada en ese mensaje. ¿Puede escribirlo otra vez?",
        "picture": "Esto parece:",
        "unknown_picture": "No reconozco esta imagen. ¿Qué muestra?",
        "failed": "Algo ha fallado aquí, así que he pasado su pregunta a una persona, que la responderá en esta "
        "conversación.",
        "held": "Una persona lleva esta conversación y le responderá aquí.",
        "joined": "Alguien del equipo se ha unido a esta conversación y le responderá aquí.",
        "released": "Está hablando de nuevo con el asistente. Puede pedir hablar con una persona en cualquier momento.",
        "back": "Ahora mismo no había nadie libre. Está hablando de nuevo con el asistente y puede pedir hablar con "
        "una persona en cualquier momento.",
        "closed": "Gracias. Esta conversación está cerrada; escriba cuando quiera para abrirla de nuevo.",
    },
    "ar": {
        "escalate": "سأحيل هذا إلى شخص، وسيجيبك هنا في هذه المحادثة.",
        "escalate_closed": "سأحيل هذا إلى شخص. لا يوجد أحد الآن، وسيجيبك هنا عند بدء الدوام.",
        "missing": "لم أجد ذلك فيما أعرفه.",
        "clarify": "أريد أن أتأكد من أنني فهمت. هل يتعلق الأمر بواحد مما يلي؟",
        "clarify_plain": "هل يمكنك قول ذلك بكلمات أخرى أو بمزيد من التفصيل؟",
        "decline": "لا أستطيع المساعدة في ذلك هنا.",
        "greeting": "مرحبًا! ماذا تودّ أن تعرف؟",
        "thanks": "على الرحب والسعة.",
        "nothing": "لم أستطع قراءة شيء في هذه الرسالة. هل يمكنك كتابتها مرة أخرى؟",
        "picture": "يبدو أن هذا:",
        "unknown_picture": "لا أتعرف على هذه الصورة. ماذا تُظهر؟",
        "failed": "حدث خطأ هنا، لذلك أحلت سؤالك إلى شخص سيجيب عنه في هذه المحادثة.",
        "held": "يتولى شخص هذه المحادثة وسيجيبك هنا.",
        "joined": "انضم أحد الزملاء إلى هذه المحادثة وسيجيبك هنا.",
        "released": "أنت تتحدث مع المساعد من جديد. يمكنك طلب التحدث إلى شخص في أي وقت.",
        "back": "لم يكن أحد متاحًا الآن. أنت تتحدث مع المساعد من جديد ويمكنك طلب التحدث إلى شخص في أي وقت.",
        "closed": "شكرًا لك. أُغلقت هذه المحادثة؛ اكتب في أي وقت لفتحها من جديد.",
    },
}  # fmt: skip


def language_of(text: str) -> str:
    """The language of a message among those above, by its script or its commonest words; English where none says
    otherwise.
    """
    if 2 * len(_ARABIC.findall(text)) > sum(map(str.isalpha, text)) and not _PERSIAN_OR_URDU.search(text):
        return "ar"
    words = [word.lower() for word in _WORD.findall(text)]
    counts = {language: sum(word in common for word in words) for language, common in _COMMON_WORDS.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] > counts["en"] else "en"


def phrase(key: str, message: str, texts: Mapping[str, str]) -> str:
    """A sentence of the assistant's own in the language of a message; the owner's wording goes first.

    `texts` may hold it for one language, as "escalate.de", or for all, as "escalate".
    """
    return phrase_in(language_of(message), key, texts)


def phrase_in(language: str, key: str, texts: Mapping[str, str]) -> str:
    """The same in a language by its code; in English where it is none of those above."""
    of_language = PHRASES.get(language, PHRASES["en"])
    return texts.get(f"{key}.{language}") or texts.get(key) or of_language[key]

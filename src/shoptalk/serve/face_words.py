"""The words on the pages, in the reader's language; `texts` in the settings replaces them."""

from collections.abc import Mapping

from shoptalk.assistant.assistant_settings import FACE, refuse_unknown_texts

RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})

_KEYS = (
    "greeting_plain", "greeting_friendly", "greeting_formal", "message", "send", "person", "sources", "up", "down",
    "wrong", "incorrect", "inappropriate", "incomplete", "outdated", "other", "correction", "submit", "thanks",
    "writing", "held", "you", "colleague", "failed", "busy", "anew", "log", "passage",
    "open", "close", "news", "waiting", "broken", "again", "refused", "picture", "show",
)  # fmt: skip

_WORDS = {
    "en": (
        "Hello! What would you like to know?", "Hi there! What can I help you with?", "Good day. How may we help you?",
        "Your message", "Send", "Talk to a person", "Sources", "Helpful", "Not helpful", "What was wrong?", "Incorrect",
        "Inappropriate", "Incomplete", "Outdated", "Something else", "What would have been right? (optional)", "Submit",
        "Thank you for telling us.", "is writing…",
        "A person has this conversation and will answer you here.", "You", "A colleague",
        "Your message could not be sent.", "There is a lot to do just now. Try again in a moment.",
        "Start a new conversation", "Conversation", "Open the page",
        "Open the chat", "Close the chat", "New message",
        "A person has been told and will answer you here. You can go on writing.",
        "The connection is interrupted. Trying again…", "Try again", "This chat cannot be used on this page.",
        "Picture", "Send a picture",
    ),
    "de": (
        "Guten Tag! Was möchten Sie wissen?", "Hallo! Wobei kann ich helfen?",
        "Guten Tag. Womit dürfen wir Ihnen helfen?",
        "Ihre Nachricht", "Senden", "Mit einem Menschen sprechen", "Quellen", "Hilfreich", "Nicht hilfreich",
        "Was war falsch?", "Sachlich falsch", "Unangemessen", "Unvollständig", "Veraltet", "Etwas anderes",
        "Was wäre richtig gewesen? (freiwillig)", "Abschicken", "Danke für den Hinweis.", "schreibt …",
        "Ein Mensch hat dieses Gespräch übernommen und antwortet Ihnen hier.", "Sie",
        "Eine Kollegin oder ein Kollege", "Ihre Nachricht konnte nicht gesendet werden.",
        "Gerade ist viel zu tun. Versuchen Sie es gleich noch einmal.",
        "Neues Gespräch beginnen", "Gespräch", "Seite öffnen",
        "Chat öffnen", "Chat schließen", "Neue Nachricht",
        "Ein Mensch weiß Bescheid und antwortet Ihnen hier. Sie können weiterschreiben.",
        "Die Verbindung ist unterbrochen. Neuer Versuch …", "Noch einmal versuchen",
        "Dieser Chat kann auf dieser Seite nicht benutzt werden.",
        "Bild", "Bild senden",
    ),
    "fr": (
        "Bonjour ! Que souhaitez-vous savoir ?", "Bonjour ! Comment puis-je vous aider ?",
        "Bonjour. En quoi pouvons-nous vous être utiles ?", "Votre message", "Envoyer", "Parler à une personne",
        "Sources", "Utile", "Pas utile", "Qu'est-ce qui n'allait pas ?", "Inexact", "Déplacé", "Incomplet", "Périmé",
        "Autre chose", "Qu'aurait-il fallu répondre ? (facultatif)", "Envoyer l'avis", "Merci de nous l'avoir signalé.",
        "écrit…",
        "Une personne s'occupe de cette conversation et vous répondra ici.", "Vous", "Un membre de l'équipe",
        "Votre message n'a pas pu être envoyé.", "Il y a beaucoup à faire en ce moment. Réessayez dans un instant.",
        "Commencer une nouvelle conversation", "Conversation", "Ouvrir la page",
        "Ouvrir la discussion", "Fermer la discussion", "Nouveau message",
        "Une personne est prévenue et vous répondra ici. Vous pouvez continuer à écrire.",
        "La connexion est interrompue. Nouvel essai…", "Réessayer",
        "Cette discussion ne peut pas être utilisée sur cette page.",
        "Image", "Envoyer une image",
    ),
    "es": (
        "¡Hola! ¿Qué le gustaría saber?", "¡Hola! ¿En qué puedo ayudarle?", "Buenos días. ¿En qué podemos servirle?",
        "Su mensaje", "Enviar", "Hablar con una persona", "Fuentes", "Útil", "No útil", "¿Qué estaba mal?",
        "Incorrecto", "Inapropiado", "Incompleto", "Desactualizado", "Otra cosa",
        "¿Qué habría sido correcto? (opcional)", "Enviar opinión", "Gracias por avisarnos.", "está escribiendo…",
        "Una persona lleva esta conversación y le responderá aquí.", "Usted",
        "Alguien del equipo", "No se pudo enviar su mensaje.",
        "Ahora hay mucho que hacer. Inténtelo de nuevo en un momento.",
        "Empezar una conversación nueva", "Conversación", "Abrir la página",
        "Abrir el chat", "Cerrar el chat", "Mensaje nuevo",
        "Hemos avisado a una persona, que le responderá aquí. Puede seguir escribiendo.",
        "La conexión se ha interrumpido. Intentándolo de nuevo…", "Intentar de nuevo",
        "Este chat no se puede usar en esta página.",
        "Imagen", "Enviar una imagen",
    ),
    "ar": (
        "مرحبًا! ماذا تودّ أن تعرف؟", "أهلًا! كيف يمكنني مساعدتك؟", "طاب يومكم. كيف يمكننا خدمتكم؟", "رسالتك", "إرسال",
        "التحدث إلى شخص", "المصادر", "مفيد", "غير مفيد", "ما الخطأ؟", "غير صحيح", "غير لائق", "غير كامل", "قديم",
        "شيء آخر", "ما الجواب الصحيح؟ (اختياري)", "إرسال الرأي", "شكرًا لإخبارنا.",
        "يكتب…", "يتولى شخص هذه المحادثة وسيجيبك هنا.", "أنت", "أحد الزملاء", "تعذّر إرسال رسالتك.",
        "لدينا الكثير من العمل الآن. حاول بعد لحظة.", "بدء محادثة جديدة", "المحادثة", "فتح الصفحة",
        "فتح المحادثة", "إغلاق المحادثة", "رسالة جديدة", "تم إبلاغ شخص وسيجيبك هنا. يمكنك متابعة الكتابة.",
        "انقطع الاتصال. تجري المحاولة من جديد…", "حاول مرة أخرى", "لا يمكن استخدام هذه المحادثة في هذه الصفحة.",
        "صورة", "إرسال صورة",
    ),
}  # fmt: skip
WORDS: Mapping[str, Mapping[str, str]] = {
    language: dict(zip(_KEYS, words, strict=True)) for language, words in _WORDS.items()
}


def refuse_unknown_words(texts: Mapping[str, str]) -> None:
    """Names that begin with "face." and stand for no word.

    Raises:
        ConfigError: there is one.
    """
    named = {key: text for key, text in texts.items() if key.startswith(FACE)}
    refuse_unknown_texts(named, [FACE + key for key in _KEYS], WORDS)


def language_among(wishes: str) -> str:
    """The first language that is here of those in an `Accept-Language` header or a `lang` attribute; else English."""
    weighted: list[tuple[float, int, str]] = []
    for place, wish in enumerate(wishes[:500].split(",")):
        tag, _, quality = wish.partition(";q=")
        try:
            weighted.append((-float(quality or 1.0), place, tag.strip().split("-")[0].lower()))
        except ValueError:
            continue
    return next((language for _, _, language in sorted(weighted) if language in WORDS), "en")


def words_in_language(language: str, texts: Mapping[str, str], *, greeting: str, tone: str) -> dict[str, str]:
    """All words of a language; "face.send.de" in `texts`, or "face.send" for all languages, goes before our own."""
    words = {
        key: texts.get(f"{FACE}{key}.{language}") or texts.get(f"{FACE}{key}") or word
        for key, word in WORDS[language].items()
    }
    chosen = greeting or words[f"greeting_{tone}"]
    return {key: word for key, word in words.items() if not key.startswith("greeting_")} | {"greeting": chosen}

"""What the cards of an encoder say by the kind of product: what it is for, what it was trained on, how to open it."""

from typing import NamedTuple

_OPEN_TEXT = """```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("path/to/this/folder").encode(["How do I change my booking?"])
```"""
_OPEN_IMAGE = """```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

folder = "path/to/this/folder"
pixels = AutoImageProcessor.from_pretrained(folder)(Image.open("picture.png").convert("RGB"), return_tensors="pt")
features = AutoModel.from_pretrained(folder).eval()(**pixels).pooler_output.flatten(1)
vectors = torch.nn.functional.normalize(features, dim=-1)
```"""
_OPEN_PAIR = """```python
import torch
from PIL import Image
from transformers import VisionTextDualEncoderModel, VisionTextDualEncoderProcessor

folder = "path/to/this/folder"
model = VisionTextDualEncoderModel.from_pretrained(folder).eval()
processor = VisionTextDualEncoderProcessor.from_pretrained(folder)
pixels = processor(images=[Image.open("picture.png").convert("RGB")], return_tensors="pt")["pixel_values"]
tokens = processor(text=["a red ferry"], return_tensors="pt", padding=True)
states, mask = model.text_model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
pictures = model.visual_projection(model.vision_model(pixels).pooler_output.flatten(1))
texts = model.text_projection((states * mask).sum(1) / mask.sum(1))  # the mean of the tokens, not the pooler
cosines = torch.nn.functional.normalize(pictures, dim=-1) @ torch.nn.functional.normalize(texts, dim=-1).T
```"""
_OPEN_FEATURES = """```python
from shoptalk.nn.bases import open_base

encoder = open_base("path/to/this/folder")  # a fixed formula without weights, which Shoptalk itself computes
```"""
_USES_TEXT = """\
For comparing short texts of the kind it was trained on: finding the intent of a message, finding passages or
earlier conversations that resemble it. Vectors have unit length; their cosine is the similarity.

What was measured stands under "How it was judged": these labels, and nothing else. Not measured: other domains and
languages, how it treats groups of people, texts that are meant to deceive it. A gain on one label set does not carry
over to another. Training on a narrow domain can cost an encoder what it knew of the language at large; the run guards
against a part of that (`general similarity`). An encoder can reveal something of the texts that it was trained on:
where those are confidential, so is the encoder. Similarity alone should not decide about people."""
_USES_PICTURES = """\
For comparing {items} of the kind it was trained on{how}. Shoptalk gives its vectors unit length; their
cosine is the similarity.

What was measured stands under "How it was judged", and nothing else. Not measured: other kinds of pictures and other
cameras, how it treats groups of people, pictures that are meant to deceive it. A gain on one set does not carry over to
another. An encoder can reveal something of what it was trained on: where that is confidential, so is the encoder.
Similarity alone should not decide about people, and this encoder was not made to recognise them."""
_PERSONAL_TEXT = """\
Shoptalk has not looked for personal data. Conversations usually hold some (names, addresses, order
numbers), and nothing was removed for being personal. Whoever publishes these texts, or an encoder trained on them, must
check that first."""
_PERSONAL_PICTURES = """\
Shoptalk has not looked for personal data. Photographs often hold some (faces, number plates,
papers, where they were taken), and nothing was removed for being personal. Whoever publishes these {items}, or an
encoder trained on them, must check that first."""

_OPEN_LM = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
```"""
_USES_LM = """\
For continuing texts of the domain that it was trained on, and as the beginning of a model that converses. It
states what is likely, not what is true: what it writes must be checked against its sources before a visitor reads it.
Training on a narrow domain can cost a model what it knew of the language at large; the run guards against a part of
that (bits per byte, and a cloze of names and numbers, of general text). A language model can repeat what it was trained
on, word by word: where that is confidential, so is the model."""

_OPEN_SEQ2SEQ = """```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = AutoModelForSeq2SeqLM.from_pretrained("path/to/this/folder")
written = model.generate(**tokenizer("Two dogs run.", return_tensors="pt"), max_new_tokens=64)
text = tokenizer.decode(written[0], skip_special_tokens=True)
```"""
_USES_SEQ2SEQ = """\
For writing a text for a text, as it was taught to: a translation, a summary, another tone; and as the beginning of a
model that is taught that. Span corruption alone teaches it to fill gaps. What it writes is likely, not true: names,
numbers and denials must be checked against the source before a visitor reads it. Such a model can repeat what it was
trained on, word by word: where that is confidential, so is the model."""


class CardWords(NamedTuple):
    """The words of one kind of product."""

    product: str
    """What it is, with its article."""
    unlabelled: str
    """What self-supervision learned from."""
    items: str
    """What is counted."""
    are: str
    """What these are, in brackets."""
    labelled: str
    held: str
    """What was held out for measuring."""
    each: str
    """What an item is, as a sentence or two."""
    library: str
    pipeline: str
    tags: tuple[str, ...]
    classification: tuple[str, str]
    """The task of the measured accuracy: as the hub knows it, and for people."""
    features: str
    """The hub's category of data that encoders learn from."""
    asked: str
    """What is labelled and tested."""
    where: str
    """Where the items are, as the beginning of a sentence."""
    uses: str
    opens: str
    personal: str


TEXT = CardWords(
    product="A text encoder",
    unlabelled="unlabelled text",
    items="texts",
    are="turns of conversations, passages of documents",
    labelled="labelled texts",
    held="turns of conversations kept for measuring",
    each="A text is a turn of a conversation or a passage of a document. Conversations are held out whole.",
    library="sentence-transformers",
    pipeline="sentence-similarity",
    tags=("sentence-transformers", "feature-extraction"),
    classification=("text-classification", "Text classification from labels, encoder frozen"),
    features="feature-extraction",
    asked="texts",
    where="The texts themselves are not here: the run keeps them in `corpus/`",
    uses=_USES_TEXT,
    opens=_OPEN_TEXT,
    personal=_PERSONAL_TEXT,
)
IMAGE = CardWords(
    product="An image encoder",
    unlabelled="unlabelled pictures",
    items="pictures",
    are="without their captions",
    labelled="labelled pictures",
    held="pictures kept for measuring",
    each="Captions, where there were any, were not read.",
    library="transformers",
    pipeline="image-feature-extraction",
    tags=("image-feature-extraction",),
    classification=("image-classification", "Image classification from labels, encoder frozen"),
    features="image-feature-extraction",
    asked="pictures",
    where="The pictures themselves are not here, and not in the run: its `corpus/` names their files and hashes",
    uses=_USES_PICTURES.format(
        items="pictures", how=": finding what class a picture is of, and those that resemble it"
    ),
    opens=_OPEN_IMAGE,
    personal=_PERSONAL_PICTURES.format(items="pictures"),
)
PAIR = IMAGE._replace(
    product="An encoder of pictures and texts",
    unlabelled="pictures with captions",
    items="pictures and captions",
    are="each picture with its captions",
    labelled="labelled pictures",
    held="pictures with their captions kept for measuring",
    each="Pictures are held out with all their captions.",
    pipeline="zero-shot-image-classification",
    tags=("zero-shot-image-classification",),
    where="The pictures themselves are not here, nor in the run: its `corpus/` has their files, hashes and captions",
    uses=_USES_PICTURES.format(
        items="pictures and short texts", how=": finding the caption of a picture, and the picture of a caption"
    ),
    opens=_OPEN_PAIR,
    personal=_PERSONAL_PICTURES.format(items="pictures and captions"),
)
LM = TEXT._replace(
    product="A language model",
    held="documents kept for measuring",
    each="A text is a passage of a document or a turn of a conversation. Documents are held out whole.",
    library="transformers",
    pipeline="text-generation",
    tags=("text-generation",),
    classification=("text-generation", "The next token of unseen documents"),
    features="text-generation",
    uses=_USES_LM,
    opens=_OPEN_LM,
    personal=_PERSONAL_TEXT.replace("an encoder", "a model"),
)
SEQ2SEQ = LM._replace(
    product="An encoder–decoder",
    pipeline="text2text-generation",
    tags=("text2text-generation",),
    classification=("text2text-generation", "Texts written for texts"),
    features="text2text-generation",
    uses=_USES_SEQ2SEQ,
    opens=_OPEN_SEQ2SEQ,
)
_WORDS = {"image": IMAGE, "pair": PAIR, "lm": LM, "seq2seq": SEQ2SEQ}


def words_of(kind: str, *, base: str) -> CardWords:
    """The words of a kind of product; `base` is the name of what it began as, which may be features without weights."""
    words = _WORDS.get(kind, TEXT)
    if kind == "image" and base.partition("@")[0] in ("pixels", "hog"):
        return words._replace(product="A formula for features of pictures", opens=_OPEN_FEATURES, library="shoptalk")
    return words

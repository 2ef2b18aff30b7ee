"""The model card that an encoder folder carries."""

from collections.abc import Mapping
from typing import Any


def encoder_card(verdict: Mapping[str, Any], *, base: str, adapted: bool) -> str:
    """A README.md for an encoder folder: what it is, how it was judged, how to open it."""
    title = f"{base}, adapted with {verdict['objective']}" if adapted else f"{base}, unchanged"
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- shoptalk
---

# {title}

{verdict["sentence"]}

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("path/to/this/folder").encode(["How do I change my booking?"])
```

Made by Shoptalk; the evidence is in the run's `report.html` and `verdict.json`.
"""

"""Every objective by name. The literal dict is in `registry.py`, which is imported when one of its names is first used,
so that an objective's file can run alone (`python -m shoptalk.objectives.masked.mlm`) without being imported before.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoptalk.objectives.registry import OBJECTIVES, make_pretext, make_spec, preference, pretexts_for, spec_for

__all__ = ["OBJECTIVES", "make_pretext", "make_spec", "preference", "pretexts_for", "spec_for"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from shoptalk.objectives import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

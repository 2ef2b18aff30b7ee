"""The stages of an adaptation, as functions on artifacts; `adaptation.py` calls them in order.

Each stage names what it depends on in its artifact's key: a finished stage is instant, and a changed input redoes
only what depends on it.

    curate, own_base, baseline, plan, choose, pretrain, decide, ship
"""

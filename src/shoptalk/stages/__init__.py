"""The stages of an adaptation, as functions on artifacts; `adapt.py` calls them in order.

Each stage names what it depends on in its artifact's key: a finished stage is instant, and a changed input redoes
only what depends on it.

    data    curate, baseline
    learn   plan, choose, pretrain
    ship    evaluate, decide, and the folders that are handed out
"""

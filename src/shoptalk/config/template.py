"""The shoptalk.toml that `shoptalk init` writes: every setting at its default, with a comment."""

TEMPLATE = """\
# The goal of an adaptation, in your own terms. `shoptalk adapt ... --config shoptalk.toml` reads it.
# Every line shows its default; delete what you do not change.

task = "intent"            # what must gain: intent (by labels), reply (by conversations alone), answer (by pairs),
                           # picture (by labels of pictures), caption (by pictures with captions alone)
other_tasks = []           # tasks that must not lose, whatever the gain (guards.tasks)
metric = "accuracy"        # in per cent, on unseen messages
smallest_gain = 0.5        # the smallest gain worth having, in points; less is not worth a new model
settle_gain = 2.0          # "how many labels would settle it?" is answered for a true gain of this size
shots = 5                  # the gain is also told at so few labels per class; the verdict is about all labels
draws = 100                # random 80/20 splits of the labels that the verdict averages over; looks take 20
budget = "10m"             # of the whole run: 90s, 10m, 1.5h; training tokens: 500ktok, 3Mtok; or money: 0.50eur
# price_per_hour = 1.20    # EUR per hour of this machine: a budget in eur needs it, and costs are then also in EUR
base = "minilm"            # the encoder to start from: minilm, a hub id, a folder, or scratch:mini (random weights)
bases = []                 # several to compare, such as ["minilm", "mpnet"]: the first is adapted, and is `base`
merges = [0.25, 0.5, 0.75] # shares of the adapted weights in averages with the base's, each measured once
bank = 0.1                 # share of the texts that no training sees, for `shoptalk ask` to ask a person about; 0: none
vocabulary = 0             # most words of your own trade that the base's tokenizer learns to leave whole
candidates = ["mlm", "simcse", "turns", "neighbours", "none"]   # `shoptalk objectives` lists them
seed = 0

[guards]                   # what must not get worse, whatever the gain
forgetting = -1.0          # largest fall in general similarity structure, in points
tasks = -1.0               # largest fall in each of other_tasks, in points: hundredths of its measure
general_bits = -2.0        # of language models: largest rise of bits per byte of general text, in -% of it
general_cloze = -2.0       # of language models: largest fall, in points, of how probable they hold names and numbers
                           # in general text; outside is a fall whose whole interval lies below this

[curate]                   # how sources are read
text_column = "text"
label_column = "label"
image_column = "image"     # of tables that name picture files, beside the table
picture_folder = ""        # folder or zip in which those files lie, where not beside the table
group_column = "auto"      # labels of one customer or conversation are never split: auto reads the columns group,
                           # customer and conversation (or with _id) where there are any, a name that one, "" none
held_out_files = []        # names of sources to hold out whole, and nothing else; without any, a share of all is
passage_characters = 600   # long texts are cut into passages of up to this size
near_duplicate = 0.8       # texts at least this alike (Jaccard, character 5-grams) count as one
near_pictures = 12         # bits of 256 in which near duplicates of pictures may differ; 0 where classes are drawings
picture_megabytes = 50.0   # a larger file of a picture is left out
picture_megapixels = 50.0  # so is a picture of more pixels
label_spelling = "merge"   # Refund, REFUND and refund_ are one label: merge, keep (as several) or refuse the file
label_conflicts = "drop"   # equal texts with different labels: drop them, keep them all, or refuse the file
rare_labels = "auto"       # a label with fewer than two independent examples: auto (drop it where gains are measured,
                           # else learn it), drop its rows, or refuse the file
file_megabytes = 4000.0    # a larger source file is left out, by what it unpacks to
label_megabytes = 200.0    # a larger labels file is refused: labels are held in memory
unpack_ratio = 200.0       # a gzip file that unpacks to over 100 MB and over this many times its size is left out

[replay]                   # of language models: general text that is read again beside your own, against forgetting
sources = []               # files or folders of text such as the base has read; never what it is judged by
percents = [0, 5, 25]      # of rows that are replayed: each is a candidate where candidates are not named

[train]
warmup = 0.1               # share of the steps
decay = 0.2                # share of the steps
weight_decay = 0.01
clip = 1.0
precision = "auto"         # auto (timed on this machine), float32 or bfloat16
snapshot_seconds = 60.0    # at most this much work is lost to a crash
curriculum_share = 0.5     # of mlm-then-neighbours and the like: the first phase's share of the steps or the budget
shard = false              # true under torchrun only, for a model too large for one process: each then holds a part

# An objective's own settings; `shoptalk objectives` shows them all.
# [objectives.neighbours]
# lr = 6e-5
"""

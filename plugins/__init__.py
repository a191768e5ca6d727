"""One file per method. A file dropped in here is found by its name; `python -m plugins` lists what there is."""

# What ships with the project: if one of these is broken, that is our bug and it raises; any other file is skipped.
BUILT_IN = ("crd_model", "dcd_model", "portable_model", "reko_model")

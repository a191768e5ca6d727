"""Programs beside train.py and test.py: the demo, set-up, downloads, the visdom server, generated documentation."""

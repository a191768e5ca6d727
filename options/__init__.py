"""What a user can type: the flags of upstream, plus what the chosen model, data set and plugins add."""

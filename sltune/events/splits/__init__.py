"""Which recordings train, validate and test: folds, official parts and lists, with no subject in two parts."""

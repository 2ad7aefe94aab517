"""Training tasks: masked_lm, seq2seq, classification, regression, fragments; the other files are what they share."""

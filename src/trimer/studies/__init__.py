"""What can be done with a trained model, by the kind of its study: one file a kind."""

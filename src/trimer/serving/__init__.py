"""Trained models over HTTP and gRPC. `Service` holds models, batches and limits; the interfaces translate for it.

Nothing here parses or cleans records: all interfaces call the predictors of `trimer.prediction`. Needs the extra
`trimer[serve]`.
"""

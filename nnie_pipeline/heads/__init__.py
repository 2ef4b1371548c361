"""Network outputs to boxes, landmarks and embeddings."""

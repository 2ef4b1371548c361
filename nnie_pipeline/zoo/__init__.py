"""One spec a model, and where its weights come from."""

"""Registered models: gate, promotion, history, and the model that MLflow loads."""

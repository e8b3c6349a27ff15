"""Code of the engine that is compiled where it runs."""

"""What `docs/SECURITY.md` promises."""

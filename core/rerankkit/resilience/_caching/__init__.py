"""What `Cached` is made of: what is kept, under which key, where, and who is fetching it."""

"""How `RateLimited` and `ConcurrencyLimited` count: lines of time, in this process or in Redis, and places."""

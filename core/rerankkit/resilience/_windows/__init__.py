"""How `Windowed` cuts texts, and documents with them."""

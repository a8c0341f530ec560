"""What runs inside the sandbox: it needs nothing but Python's own library, and imports no other part of the factory."""

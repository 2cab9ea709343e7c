"""Everything two peers must agree on, and how it crosses.

Importing this package loads nothing heavy; `quic_transport.endpoint` is the one module that
loads aioquic.
"""

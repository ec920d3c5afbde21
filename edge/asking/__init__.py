"""Asking a teacher over HTTP, so that each answer is paid for once: from the socket up to the oracle.

oracle -> transfer set (journal)
-> teacher: client (Open Inference Protocol) or an adapter -> exchange (patience) -> wire_bytes, link
"""

"""Bytes: connections and clients. No routes; the server and the mesh both stand on it."""

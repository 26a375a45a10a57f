"""The other end of the wire: emulators that take bytes and return bytes, and the servers that expose them."""

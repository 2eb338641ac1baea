"""One row for every call: opened before the engine is asked, settled before the last byte goes out."""

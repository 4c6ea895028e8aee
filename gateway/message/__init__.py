"""What clients and services say: commands and events as typed records, and the codecs."""

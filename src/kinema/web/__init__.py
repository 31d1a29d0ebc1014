"""The local web page: what people may ask of it (`jobs`), and how it looks (`page`)."""

"""Parts that all HTML pages share: the document, tables, plots, drawings of architectures."""

"""The studio: a page on this machine alone, where a picture is painted and steered."""

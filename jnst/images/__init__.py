"""Pictures in and out of files, sizes and pixel spaces."""

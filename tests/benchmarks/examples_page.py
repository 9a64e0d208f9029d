def write_page(entries, missing):
    pass

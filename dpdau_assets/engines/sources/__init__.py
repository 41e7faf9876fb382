"""Opens a source of any format and yields its rows in blocks of bounded size; rows are judged elsewhere."""

"""Opening a source of any format and yielding its rows in blocks of bounded size; rows are judged elsewhere."""

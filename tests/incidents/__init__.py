"""What went wrong with others: each test is named after a kind of incident of this field, and says what happened."""

"""What went wrong with others: each test is named after a public incident of this field, and says what happened there."""

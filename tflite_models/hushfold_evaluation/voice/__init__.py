"""What the voice is worth: base words, personal words and false alarms, on recordings that nothing has learned from."""

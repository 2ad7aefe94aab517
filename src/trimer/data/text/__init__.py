"""Text files read in one place: opening, tables, FASTA, numbers, missing values, charges."""

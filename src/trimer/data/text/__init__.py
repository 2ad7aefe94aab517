"""Reading of text files: opening, tables, FASTA, numbers, missing values, charges."""

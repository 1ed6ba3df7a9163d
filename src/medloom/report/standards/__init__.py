"""What reporting standards ask of a study: what the run answers, and what only its authors can write."""

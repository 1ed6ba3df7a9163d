"""What the parts of the evaluation tell, one file each: `section(story)` gives a `Section`, or None with nothing to tell."""

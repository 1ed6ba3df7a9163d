"""`python -m medloom` is the command `medloom`."""

from medloom.cli import main

main()

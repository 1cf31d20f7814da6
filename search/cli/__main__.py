"""`python -m search.cli`: the command line for Ray Jobs, whose nodes may not have the package installed."""

from search.cli.main import main

main()

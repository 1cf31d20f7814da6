"""`python -m search.cli`, for a Ray Job, whose nodes may not have the package installed."""

from search.cli.main import main

main()

"""`python -m search.cli`: the command line of a supervised launch, and of Ray Jobs, whose nodes may not have the package installed."""

import sys

from search.cli.main import main

sys.argv[0] = "promptfront"  # for usage lines and provenance
main()

"""`python -m nnie_pipeline` is the `nnie` command."""

from nnie_pipeline.cli import main

if __name__ == "__main__":
    main()

"""``python -m reeve``."""

from reeve.cli import main

if __name__ == "__main__":
    main()

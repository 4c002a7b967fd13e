"""The list formats in which other tools name labelled videos; one file per family, `known.py` names them all."""

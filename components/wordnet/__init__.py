"""WordNet: its releases, installed where NLTK finds them, and the words around an object name."""

"""The one listing of a data set, local or in an object store: what is read, and what is left out and why."""

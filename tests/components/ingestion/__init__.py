"""Tests of the ingestion stage."""

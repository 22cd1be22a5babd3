"""The paper's tables and figures as graphs of the stages' tasks, run on this machine or compiled for a cluster."""

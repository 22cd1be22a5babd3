"""The detectors' networks, one file per paper: what scores an image, apart from how it is trained.

Each is an `nn.Module` from images [n, 3, height, width] in [0, 1] to anomalib's `InferenceBatch` with raw scores [n]
and anomaly maps [n, 1, height, width], higher for more anomalous. The score of an image depends on that image alone.
"""

"""Pretrained networks: embedders, backbones and perceptual distances."""

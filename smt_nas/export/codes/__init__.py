"""Exports that are code, or that belong to the zoos people use: plain torch, timm, and others."""

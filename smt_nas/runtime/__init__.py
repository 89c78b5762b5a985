"""What running needs: worker processes, progress, the host, NVML, torch's devices and settings.

torch is imported by `torch_device`, `torch_settings`, `torchvision_ops` and `environment` only.
"""

"""What kernels share: random words one by one and in blocks, vectors, processor instructions."""

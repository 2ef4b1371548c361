"""Pictures to input blobs: geometry, channel order, raw planar files."""

//! The memory that decoders may take.

/// Bytes for tables of a decoder, beside its pixels.
const SMALL_BUFFERS: u64 = 1 << 20;

/// Bytes that decoders may take for an image of at most `limit` bytes, whose size the header told.
/// The decoder of TIFF counts the pixels twice, and its own buffers.
pub(super) fn decoder_bytes(limit: u64) -> u64 {
    limit.saturating_mul(3).saturating_add(SMALL_BUFFERS)
}

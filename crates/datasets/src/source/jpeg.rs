/// True when a JPEG file is complete: its markers, followed segment by segment, lead to an
/// end-of-image marker.
///
/// The decoder of the `image` crate fills what is missing of a truncated file with grey and reports
/// nothing, which would train on half an image. Searching for the marker's bytes alone would find
/// that of an embedded thumbnail.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    const TEMPORARY: u8 = 0x01;
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: u8 = 0xd9;

    // Behind the start-of-image marker.
    let mut at = 2;
    loop {
        let Some(&[0xff, marker]) = bytes.get(at..at + 2) else { return false };
        at += 2;
        match marker {
            END_OF_IMAGE => return true,
            // Fill bytes before a marker; restart markers and TEM have no segment.
            0xff => at -= 1,
            0xd0..=0xd7 | TEMPORARY => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else { return false };
                at += usize::from(u16::from_be_bytes([high, low]));
                if marker == START_OF_SCAN {
                    // Entropy-coded data: 0xff is followed by zero (a stuffed byte) or by a restart
                    // marker.
                    let Some(rest) = bytes.get(at..) else { return false };
                    let next = rest
                        .windows(2)
                        .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7));
                    let Some(length) = next else { return false };
                    at += length;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_of_a_thumbnail_does_not_count() {
        let thumbnail = [0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9];
        let scan = [0xff, 0xda, 0, 3, 1, 5, 0xff, 0x00, 0xff, 0xd0, 7];
        let mut file = [&[0xff, 0xd8][..], &thumbnail, &scan].concat();
        assert!(!is_complete(&file));
        file.extend([0xff, 0xff, 0xd9]);
        assert!(is_complete(&file));
        for length in 0..file.len() {
            assert!(!is_complete(&file[..length]), "{length} bytes");
        }
    }
}

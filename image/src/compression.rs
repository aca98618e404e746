//! Decompression of layers, told apart by their first bytes: media types are not always right.

use std::io::{self, BufRead, BufReader, Read};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 128 * 1024;

/// The plain bytes of `source`, whether it is gzip, zstd or not compressed.
pub(crate) fn decompressed<'a, R: Read + Send + 'a>(source: R) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    let start = source.fill_buf()?;
    Ok(if start.starts_with(&GZIP) {
        Box::new(flate2::bufread::MultiGzDecoder::new(source))
    } else if start.starts_with(&ZSTD) {
        Box::new(zstd::stream::read::Decoder::with_buffer(source)?)
    } else {
        Box::new(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompressed(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn tells_formats_apart() {
        let text = b"hello hello hello".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        assert_eq!(plain(&text).unwrap(), text);
        assert_eq!(plain(&gzip).unwrap(), text);
        assert_eq!(plain(&zstd).unwrap(), text);
        assert_eq!(plain(&[gzip.clone(), gzip.clone()].concat()).unwrap(), [text.clone(), text].concat());
        assert!(plain(&gzip[..gzip.len() / 2]).is_err());
        assert!(plain(&zstd[..zstd.len() / 2]).is_err());
        assert_eq!(plain(b"").unwrap(), b"");
    }
}

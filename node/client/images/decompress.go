package images

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of one zstd stream, in bytes. Levels up to 19 use 8 MiB.
const maxWindow = 128 << 20

// decompress unpacks what is compressed, by what it begins with: media types are
// wrong in the field, and `docker save` gives none.
func decompress(from io.Reader) (io.ReadCloser, error) {
	r := bufio.NewReaderSize(from, 128<<10)
	magic, err := r.Peek(6)
	if err != nil && len(magic) == 0 && err != io.EOF {
		return nil, err
	}
	switch {
	case isGzip(magic):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("unpack gzip: %w", err)
		}
		return z, nil
	case isZstd(magic):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("unpack zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")), bytes.HasPrefix(magic, []byte("BZh")):
		return nil, malformed("it is compressed with xz or bzip2, where images have gzip or zstd")
	}
	return io.NopCloser(r), nil
}

// isCompressed tells whether a file that begins with magic is one that decompress
// unpacks.
func isCompressed(magic []byte) bool { return isGzip(magic) || isZstd(magic) }

func isGzip(magic []byte) bool { return bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) }

// isZstd knows skippable frames too, with which some builders begin (RFC 8878, 3.1).
func isZstd(magic []byte) bool {
	return bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(magic) >= 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:4], []byte{0x2a, 0x4d, 0x18})
}

// Package digest names content: digests of the Remote Execution API and the
// ByteStream resource names that carry them. It is pure and imports nothing of
// this project.
package digest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// ErrInvalid is wrapped by every error about a malformed digest or name; the
// message names the rule that was broken.
var ErrInvalid = errors.New("invalid digest")

// Digest names a blob by digest function, hash and size in bytes. It is
// comparable and meant to be used by value and as a map key. The zero Digest is
// not valid.
type Digest struct {
	Size     int64
	Hash     [32]byte
	Function Function
}

// Of returns the digest of data.
func Of(fn Function, data []byte) Digest {
	return Digest{Function: fn, Hash: fn.Sum(data), Size: int64(len(data))}
}

// FromHash returns the digest whose content was written to h, size bytes of it.
// h must come from fn.New.
func FromHash(fn Function, h hash.Hash, size int64) Digest {
	d := Digest{Function: fn, Size: size}
	h.Sum(d.Hash[:0])
	return d
}

// FromProto validates p. An absent digest, an upper case or wrongly long hash
// and a negative size are errors that wrap ErrInvalid. An empty hash with size
// 0 means the empty blob (some clients send it).
func FromProto(fn Function, p *repb.Digest) (Digest, error) {
	if p == nil {
		return Digest{}, fmt.Errorf("%w: digest is not set", ErrInvalid)
	}
	if p.Hash == "" && p.SizeBytes == 0 && fn.Supported() {
		return fn.Empty(), nil
	}
	return New(fn, p.Hash, p.SizeBytes)
}

// New validates a lower-case hexadecimal hash and a size in bytes.
func New(fn Function, hexHash string, size int64) (Digest, error) {
	if !fn.Supported() {
		return Digest{}, fmt.Errorf("%w: digest function %s is not served here", ErrInvalid, fn)
	}
	if size < 0 {
		return Digest{}, fmt.Errorf("%w: size %d is negative", ErrInvalid, size)
	}
	d := Digest{Function: fn, Size: size}
	if len(hexHash) != fn.HexLen() {
		return Digest{}, fmt.Errorf("%w: hash %s has %d characters, %s has %d", ErrInvalid, quote(hexHash), len(hexHash), fn, fn.HexLen())
	}
	for i := range len(hexHash) {
		if c := hexHash[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Digest{}, fmt.Errorf("%w: hash %s is not lower-case hexadecimal", ErrInvalid, quote(hexHash))
		}
	}
	if _, err := hex.Decode(d.Hash[:], []byte(hexHash)); err != nil {
		return Digest{}, fmt.Errorf("%w: hash %s: %w", ErrInvalid, quote(hexHash), err)
	}
	if size == 0 && d != fn.Empty() {
		return Digest{}, fmt.Errorf("%w: size 0 belongs to the empty blob, not to hash %s", ErrInvalid, quote(hexHash))
	}
	return d, nil
}

// Parse reads "hash/size", with the function's lower-case name and a slash
// before it where the function is not SHA256 ("blake3/hash/size").
func Parse(s string) (Digest, error) {
	fn := SHA256
	rest := s
	if name, after, ok := strings.Cut(s, "/"); ok && strings.Contains(after, "/") {
		f, known := functionSegment(name)
		if !known {
			return Digest{}, fmt.Errorf("%w: %s: want hash/size", ErrInvalid, quote(s))
		}
		fn, rest = f, after
	}
	hexHash, sizeText, ok := strings.Cut(rest, "/")
	if !ok {
		return Digest{}, fmt.Errorf("%w: %s: want hash/size", ErrInvalid, quote(s))
	}
	size, err := parseSize(sizeText)
	if err != nil {
		return Digest{}, err
	}
	return New(fn, hexHash, size)
}

// Hex returns the hash in lower-case hexadecimal.
func (d Digest) Hex() string { return hex.EncodeToString(d.Hash[:]) }

// String returns "hash/size", for functions other than SHA256 "function/hash/size":
// the form of a PreconditionFailure subject after "blobs/", and what Parse reads.
func (d Digest) String() string {
	s := d.Hex() + "/" + strconv.FormatInt(d.Size, 10)
	if d.Function == SHA256 {
		return s
	}
	return d.Function.Name() + "/" + s
}

// Proto returns the digest as the Remote Execution API carries it; the function
// travels beside it.
func (d Digest) Proto() *repb.Digest {
	return &repb.Digest{Hash: d.Hex(), SizeBytes: d.Size}
}

// IsEmpty tells whether d names the blob of no bytes, which is always present.
func (d Digest) IsEmpty() bool { return d.Size == 0 }

// IsZero tells whether d is the zero Digest, which names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

func parseSize(s string) (int64, error) {
	if s == "" || len(s) > 19 || (len(s) > 1 && s[0] == '0') {
		return 0, fmt.Errorf("%w: size %s is not a number of bytes", ErrInvalid, quote(s))
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("%w: size %s is not a number of bytes", ErrInvalid, quote(s))
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: size %s is not a number of bytes", ErrInvalid, quote(s))
	}
	return n, nil
}

// quote shortens what a client sent before it goes into an error message.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

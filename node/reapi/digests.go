package reapi

import (
	"fmt"
	"unicode/utf8"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// functionOf returns the digest function that a request names. Unset means
// SHA256: that is what a client may leave out (REAPI, digest_function).
func functionOf(v repb.DigestFunction_Value) (digest.Function, error) {
	fn, ok := digest.FunctionFromProto(v)
	if !ok {
		return fn, invalidField("digest_function", v.String()+" is not served here; SHA256 is")
	}
	return fn, nil
}

// digestOf checks a digest that a request has in the given field.
func digestOf(field string, v repb.DigestFunction_Value, p *repb.Digest) (digest.Digest, error) {
	fn, err := functionOf(v)
	if err != nil {
		return digest.Digest{}, err
	}
	d, err := digest.FromProto(fn, p)
	if err != nil {
		return digest.Digest{}, invalidField(field, err.Error())
	}
	return d, nil
}

// rawDigest is a digest as it came, in memory that belongs to the message.
type rawDigest struct {
	hash []byte
	size int64
	set  bool
}

// resolve checks r by the rules of digest.FromProto, at the cost of none of its
// allocations.
func (r *rawDigest) resolve(fn digest.Function) (digest.Digest, error) {
	d := digest.Digest{Function: fn, Size: r.size}
	if r.size > 0 && fn.Supported() && decodeHash(&d.Hash, r.hash) {
		return d, nil
	}
	if !r.set {
		return digest.FromProto(fn, nil)
	}
	if len(r.hash) == 0 && r.size == 0 {
		return fn.Empty(), nil
	}
	return digest.New(fn, string(r.hash), r.size)
}

// echo is r as a response repeats it. A hash that is not UTF-8 cannot be: the
// whole message is refused then, as every other protobuf server does.
func (r *rawDigest) echo(field string) (blobStatus, error) {
	if !utf8.Valid(r.hash) {
		return blobStatus{}, invalidField(field, "the hash is not UTF-8")
	}
	return blobStatus{hash: r.hash, size: r.size}, nil
}

// resolveAll checks digests of a repeated field.
func resolveAll(field string, fn digest.Function, raw []rawDigest) ([]digest.Digest, error) {
	ds := make([]digest.Digest, len(raw))
	for i := range raw {
		d, err := raw[i].resolve(fn)
		if err != nil {
			return nil, invalidField(fmt.Sprintf("%s[%d]", field, i), err.Error())
		}
		ds[i] = d
	}
	return ds, nil
}

// hexValues is what each byte is worth as a lower-case hexadecimal digit.
const (
	notHex    = 0xff
	notHex16  = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
	notHex48  = notHex16 + notHex16 + notHex16
	hexValues = notHex48 +
		"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\xff\xff\xff\xff\xff\xff" + // 0 to 9
		notHex16 + notHex16 +
		"\xff\x0a\x0b\x0c\x0d\x0e\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff" + // a to f
		notHex48 + notHex48 + notHex48
)

// decodeHash reads 64 lower-case hexadecimal digits.
func decodeHash(to *[32]byte, from []byte) bool {
	if len(from) != 2*len(to) {
		return false
	}
	bad := byte(0)
	for i := range to {
		high, low := hexValues[from[2*i]], hexValues[from[2*i+1]]
		bad |= high | low
		to[i] = high<<4 | low&0xf
	}
	return bad != notHex
}

// appendHash is the reverse of decodeHash.
func appendHash(b []byte, hash *[32]byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range hash {
		b = append(b, digits[c>>4], digits[c&0xf])
	}
	return b
}

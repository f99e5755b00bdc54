package digest

import (
	"crypto/sha256"
	"hash"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// Function is a digest function with the number that the Remote Execution API
// gives it (DigestFunction.Value). All functions that this project can carry
// have hashes of 32 bytes.
type Function uint8

// The digest functions. Supported tells which of them this build serves.
const (
	Unknown Function = Function(repb.DigestFunction_UNKNOWN)
	SHA256  Function = Function(repb.DigestFunction_SHA256)
	BLAKE3  Function = Function(repb.DigestFunction_BLAKE3)
)

// FunctionFromProto returns the function that a request's digest_function field
// names. UNKNOWN means SHA256, which is what a hash of 64 characters stood for
// before the field existed (REAPI 2.2 and older).
func FunctionFromProto(v repb.DigestFunction_Value) (Function, bool) {
	if v == repb.DigestFunction_UNKNOWN {
		return SHA256, true
	}
	if v < 0 || v > 255 || !Function(v).Supported() {
		return Unknown, false
	}
	return Function(v), true
}

// FunctionByName finds a supported function by its lower-case name, as resource
// names carry it.
func FunctionByName(name string) (Function, bool) {
	if name == "sha256" {
		return SHA256, true
	}
	return Unknown, false
}

// functionSegment is FunctionByName for all functions of the Remote Execution API
// whose number fits, so that one that is not served here is refused as such and
// not as a malformed hash.
func functionSegment(name string) (Function, bool) {
	v, ok := repb.DigestFunction_Value_value[strings.ToUpper(name)]
	if !ok || v <= 0 || v > 255 || name != Function(v).Name() {
		return Unknown, false
	}
	return Function(v), true
}

// Supported tells whether this build computes f.
func (f Function) Supported() bool { return f == SHA256 }

// Proto returns the function's number in the Remote Execution API.
func (f Function) Proto() repb.DigestFunction_Value { return repb.DigestFunction_Value(f) }

// Name returns the lower-case name used in resource names.
func (f Function) Name() string { return strings.ToLower(f.String()) }

// String returns the API's name of the function, such as SHA256.
func (f Function) String() string { return repb.DigestFunction_Value(f).String() }

// HexLen returns the length of the function's hashes in hexadecimal characters.
func (f Function) HexLen() int { return 64 }

// New returns a hash.Hash that computes f, which must be supported.
func (f Function) New() hash.Hash { return sha256.New() }

// Sum returns the hash of data.
func (f Function) Sum(data []byte) [32]byte { return sha256.Sum256(data) }

// Empty returns the digest of the blob of no bytes.
func (f Function) Empty() Digest { return Digest{Function: f, Hash: f.Sum(nil)} }

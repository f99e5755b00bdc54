package digest

import (
	"fmt"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
)

// Resource is a parsed ByteStream resource name (REAPI, ContentAddressableStorage):
//
//	[{instance}/]blobs/[{function}/]{hash}/{size}
//	[{instance}/]compressed-blobs/{compressor}/[{function}/]{hash}/{size}
//	[{instance}/]uploads/{uuid}/blobs/[{function}/]{hash}/{size}[/{metadata}]
//	[{instance}/]uploads/{uuid}/compressed-blobs/{compressor}/[{function}/]{hash}/{size}[/{metadata}]
type Resource struct {
	Instance   string // may contain slashes, may be empty
	UploadID   string // only in upload names
	Compressor repb.Compressor_Value
	Digest     Digest
	Metadata   string // what follows the size in an upload name, without the slash
}

// maxResourceName bounds what is parsed; longer names are refused.
const maxResourceName = 4096

// ParseRead parses the name of a blob to read.
func ParseRead(name string) (Resource, error) { return parse(name, false) }

// ParseUpload parses the name of a blob to write.
func ParseUpload(name string) (Resource, error) { return parse(name, true) }

func parse(name string, upload bool) (Resource, error) {
	var r Resource
	if len(name) > maxResourceName {
		return r, nameError(name, fmt.Sprintf("longer than %d bytes", maxResourceName))
	}
	segments := strings.Split(name, "/")
	start := 0
	for start < len(segments) && !isKeyword(segments[start]) {
		start++
	}
	if start == len(segments) {
		return r, nameError(name, "neither blobs/ nor compressed-blobs/ nor uploads/ in it")
	}
	r.Instance = strings.Join(segments[:start], "/")
	rest := segments[start:]
	if upload != (rest[0] == "uploads") {
		if upload {
			return r, nameError(name, "want {instance}/uploads/{uuid}/blobs/{hash}/{size}")
		}
		return r, nameError(name, "want {instance}/blobs/{hash}/{size}")
	}
	if upload {
		if len(rest) < 2 {
			return r, nameError(name, "want {instance}/uploads/{uuid}/blobs/{hash}/{size}")
		}
		if _, err := uuid.Parse(rest[1]); err != nil {
			return r, nameError(name, quote(rest[1])+" is not a UUID")
		}
		r.UploadID, rest = rest[1], rest[2:]
	}
	return r.parseBlob(name, rest, upload)
}

// parseBlob reads blobs/... or compressed-blobs/... from segments.
func (r Resource) parseBlob(name string, segments []string, upload bool) (Resource, error) {
	if len(segments) == 0 {
		return r, nameError(name, "no blobs/ or compressed-blobs/ in it")
	}
	kind, segments := segments[0], segments[1:]
	switch kind {
	case "blobs":
	case "compressed-blobs":
		if len(segments) == 0 {
			return r, nameError(name, "no compressor after compressed-blobs/")
		}
		v, ok := repb.Compressor_Value_value[strings.ToUpper(segments[0])]
		if !ok || segments[0] != strings.ToLower(segments[0]) {
			return r, nameError(name, quote(segments[0])+" is not a compressor")
		}
		r.Compressor, segments = repb.Compressor_Value(v), segments[1:]
	default:
		return r, nameError(name, "want blobs/ or compressed-blobs/, have "+quote(kind))
	}
	fn := SHA256
	if len(segments) > 2 {
		if f, ok := functionSegment(segments[0]); ok {
			fn, segments = f, segments[1:]
		}
	}
	if len(segments) < 2 {
		return r, nameError(name, "want {hash}/{size} at its end")
	}
	size, err := parseSize(segments[1])
	if err != nil {
		return r, fmt.Errorf("resource name %s: %w", quote(name), err)
	}
	if r.Digest, err = New(fn, segments[0], size); err != nil {
		return r, fmt.Errorf("resource name %s: %w", quote(name), err)
	}
	r.Metadata = strings.Join(segments[2:], "/")
	if len(segments) > 2 && !upload {
		return r, nameError(name, quote("/"+r.Metadata)+" after the size")
	}
	return r, nil
}

// ReadName returns the resource name that reads d, uncompressed.
func ReadName(instance string, d Digest) string {
	return prefix(instance) + "blobs/" + d.String()
}

// UploadName returns the resource name that writes d, uncompressed. id is a UUID.
func UploadName(instance, id string, d Digest) string {
	return prefix(instance) + "uploads/" + id + "/blobs/" + d.String()
}

func prefix(instance string) string {
	if instance == "" {
		return ""
	}
	return instance + "/"
}

// isKeyword tells whether an instance name must not contain the segment
// (REAPI: "the instance name must not contain path segments that equal ...").
func isKeyword(segment string) bool {
	switch segment {
	case "blobs", "uploads", "actions", "actionResults", "operations", "capabilities", "compressed-blobs":
		return true
	}
	return false
}

func nameError(name, why string) error {
	return fmt.Errorf("%w: resource name %s: %s", ErrInvalid, quote(name), why)
}

package logstream

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// segment is what stands before the id in the name of a log stream.
const segment = "logstreams"

// maxParent is the longest parent in bytes.
const maxParent = 512

// maxName is the longest name in bytes that is looked up.
const maxName = maxParent + 128

// IsName tells the resource name of a log stream, to read or to write, from those
// of blobs and uploads: the first segment that has a meaning decides.
func IsName(name string) bool {
	for s := range strings.SplitSeq(name, "/") {
		switch s {
		case segment:
			return true
		case "blobs", "compressed-blobs", "uploads":
			return false
		}
	}
	return false
}

// parse splits {parent}/logstreams/{id} and {parent}/logstreams/{id}/{token}.
func parse(name string) (parent, id, token string, err error) {
	if len(name) > maxName {
		return "", "", "", fmt.Errorf("%w: it has %d bytes, at most %d are taken", ErrName, len(name), maxName)
	}
	before, rest, ok := strings.Cut("/"+name, "/"+segment+"/")
	id, token, _ = strings.Cut(rest, "/")
	if !ok || id == "" || strings.Contains(token, "/") || strings.HasSuffix(rest, "/") {
		return "", "", "", fmt.Errorf("%w: want {parent}/%s/{id}, or {parent}/%s/{id}/{token} to write", ErrName, segment, segment)
	}
	return strings.TrimPrefix(before, "/"), id, token, nil
}

// Parent returns the parent in the name of a log stream. ErrName.
func Parent(name string) (string, error) {
	parent, _, _, err := parse(name)
	return parent, err
}

// checkParent keeps names unambiguous.
func checkParent(parent string) error {
	if len(parent) > maxParent {
		return fmt.Errorf("%w: the parent has %d bytes, at most %d are taken", ErrName, len(parent), maxParent)
	}
	if parent == "" {
		return nil
	}
	for s := range strings.SplitSeq(parent, "/") {
		switch s {
		case "":
			return fmt.Errorf("%w: the parent has an empty segment", ErrName)
		case segment, "blobs", "compressed-blobs", "uploads":
			return fmt.Errorf("%w: the parent has the segment %q, which resource names keep for themselves", ErrName, s)
		}
	}
	return nil
}

// nameOf joins a parent and what follows it.
func nameOf(parent, rest string) string {
	if parent == "" {
		return segment + "/" + rest
	}
	return parent + "/" + segment + "/" + rest
}

// nodeEnd ends the name of the node in an id.
const nodeEnd = "~"

// newID returns an id for a stream.
func (h *Hub) newID() string {
	if h.o.Node == "" {
		return uuid.NewString()
	}
	return h.o.Node + nodeEnd + uuid.NewString()
}

// NodeOf returns the Options.Node of the hub that made the name of a stream; ""
// when it had none, or when it is no such name.
func NodeOf(name string) string {
	_, id, _, err := parse(name)
	node, _, ok := strings.Cut(id, nodeEnd)
	if err != nil || !ok {
		return ""
	}
	return node
}

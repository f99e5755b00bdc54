package images

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Limits on what an image may name, so that a small one cannot fill the memory or
// keep this process busy for ever.
const (
	maxEntries = 5_000_000 // of all layers
	maxPath    = 4000      // bytes of a path
	maxName    = 255       // bytes of one segment of it
	maxContent = 1 << 40   // bytes of all layers, unpacked
)

// kind says what an entry of a layer does to the tree.
type kind uint8

const (
	dirKind kind = iota
	fileKind
	linkKind     // symbolic
	hardKind     // another name of a file
	otherKind    // what a tree cannot hold; it still hides what had its name
	whiteoutKind // removes a name of lower layers
	opaqueKind   // removes all that lower layers have in a directory
)

// entry is one member of a layer's archive.
type entry struct {
	path   string // clean and relative; "." is the root
	kind   kind
	perm   fs.FileMode
	target string        // of a link: as it is written, or for hardKind clean and relative
	what   string        // of otherKind: its type, for people
	size   int64         // of a file
	digest digest.Digest // of a file's content, when it was asked for
	index  int           // place in the archive
}

// Whiteouts (OCI image specification, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh." // reserved for AUFS, but for the opaque marker
	whiteoutOpaque = ".wh..wh..opq"
)

// parseHeader turns an archive's header into an entry. What concerns only the
// archive itself is not to be kept.
func parseHeader(h *tar.Header) (e entry, keep bool, err error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return e, false, nil
	}
	if e.path, err = cleanPath(h.Name); err != nil {
		return e, false, err
	}
	e.perm = fs.FileMode(h.Mode) & fs.ModePerm //nolint:gosec // masked
	if hides, err := e.parseWhiteout(); hides || err != nil {
		return e, err == nil && e.kind != otherKind, err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		e.kind = dirKind
		if h.Mode&0o1000 != 0 {
			e.perm |= fs.ModeSticky
		}
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.kind, e.size = fileKind, h.Size
	case tar.TypeSymlink:
		e.kind, e.target = linkKind, h.Linkname
		if e.target == "" || len(e.target) > maxPath || strings.ContainsRune(e.target, 0) {
			return e, false, malformed("the symbolic link %q leads to %q", e.path, e.target)
		}
	case tar.TypeLink:
		e.kind = hardKind
		if e.target, err = cleanPath(h.Linkname); err != nil {
			return e, false, fmt.Errorf("hard link %q: %w", e.path, err)
		}
	default:
		e.kind, e.what = otherKind, typeName(h.Typeflag)
	}
	if !utf8.ValidString(e.path) || !utf8.ValidString(e.target) {
		e.path = speakable(e.path)
		e.kind, e.what, e.size = otherKind, "its name or target is not UTF-8", 0
	}
	if e.path == "." && e.kind != dirKind {
		return e, false, malformed("its root is no directory")
	}
	return e, true, nil
}

// parseWhiteout recognises the names that hide others. For AUFS' own files, which
// mean nothing, it leaves otherKind.
func (e *entry) parseWhiteout() (hides bool, err error) {
	dir, base := path.Split(e.path)
	if strings.HasPrefix(e.path, whiteoutMeta) && base != whiteoutOpaque || strings.Contains(dir, "/"+whiteoutMeta) {
		e.kind = otherKind
		return true, nil
	}
	switch {
	case base == whiteoutOpaque:
		e.kind, e.path = opaqueKind, path.Clean(dir+".")
		return true, nil
	case strings.HasPrefix(base, whiteoutMeta):
		e.kind = otherKind
		return true, nil
	case strings.HasPrefix(base, whiteoutPrefix):
		name := base[len(whiteoutPrefix):]
		if name == "" || name == "." || name == ".." {
			return true, malformed("%q hides the name %q", e.path, name)
		}
		e.kind, e.path = whiteoutKind, dir+name
		return true, nil
	}
	return false, nil
}

// cleanPath makes the path of an archive relative to the image's root. One that
// climbs is refused, even where it would come back.
func cleanPath(name string) (string, error) {
	if len(name) > maxPath {
		return "", malformed("a path is longer than %d bytes: %.40q...", maxPath, name)
	}
	if strings.ContainsRune(name, 0) {
		return "", malformed("the path %q has a null byte", name)
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == ".." {
			return "", malformed("the path %q climbs by \"..\"", name)
		}
		if len(segment) > maxName {
			return "", malformed("a name is longer than %d bytes: %.40q...", maxName, segment)
		}
	}
	if clean := path.Clean("/" + name)[1:]; clean != "" {
		return clean, nil
	}
	return ".", nil
}

// speakable cuts a path after the first name that is not UTF-8: what is beneath goes
// with it.
func speakable(path string) string {
	for i := range len(path) {
		if path[i] == '/' && !utf8.ValidString(path[:i]) {
			return path[:i]
		}
	}
	return path
}

func typeName(flag byte) string {
	switch flag {
	case tar.TypeChar:
		return "character device"
	case tar.TypeBlock:
		return "block device"
	case tar.TypeFifo:
		return "FIFO"
	}
	return fmt.Sprintf("unknown type %q", flag)
}

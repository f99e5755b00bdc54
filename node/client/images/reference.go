package images

import (
	"os"
	"path/filepath"
	"strings"
)

// origin is where an image is looked for.
type origin int

const (
	fromAnywhere origin = iota // the daemon, then the registry
	fromStdin
	fromPath
	fromDaemon
	fromRegistry
)

// reference is an image's name as a user wrote it, taken apart.
type reference struct {
	from      origin
	name, tag string // tag only of a path
}

// transports are the prefixes that other tools have for the same, too.
func transports() []struct {
	prefix string
	from   origin
} {
	return []struct {
		prefix string
		from   origin
	}{
		{"docker://", fromRegistry},
		{"docker-daemon:", fromDaemon},
		{"docker-archive:", fromPath},
		{"oci-archive:", fromPath},
		{"oci:", fromPath},
	}
}

// parseReference only looks at the disk to tell paths from references.
func parseReference(name string) reference {
	if name == "-" {
		return reference{from: fromStdin}
	}
	for _, t := range transports() {
		rest, ok := strings.CutPrefix(name, t.prefix)
		if !ok {
			continue
		}
		r := reference{from: t.from, name: rest}
		if t.from == fromPath {
			r.name, r.tag, _ = splitTag(rest, exists)
		}
		return r
	}
	if file, tag, found := splitTag(name, isImage); found || looksLikePath(name) {
		return reference{from: fromPath, name: file, tag: tag}
	}
	return reference{name: name}
}

// splitTag takes a tag off a path, at the first colon before which there is a file.
func splitTag(name string, there func(string) bool) (file, tag string, found bool) {
	if there(name) {
		return name, "", true
	}
	for i, r := range name {
		if r == ':' && there(name[:i]) {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// isImage tells whether name is a file, or a directory that could be an image: one
// called "debian" that is none must not hide the image debian.
func isImage(name string) bool {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return false
	case info.IsDir():
		return looksLikePath(name) || exists(filepath.Join(name, "index.json")) || exists(filepath.Join(name, "manifest.json"))
	}
	return true
}

func looksLikePath(name string) bool {
	for _, prefix := range []string{"/", "./", "../", "~"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	for _, suffix := range []string{".tar", ".tar.gz", ".tgz", ".tar.zst", "/"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return name == "." || name == ".."
}

package runners

import (
	"fmt"
	"path"
	"strings"
)

// maxPath is the longest path in bytes, from the input root, that is laid out or
// collected: PATH_MAX without room for the place of the input root itself.
const maxPath = 3800

// cleanPath joins a path of a Command with the directory that it is relative to
// and returns it relative to the input root, without "." and "..", "" for the
// root itself. A path that leaves the input root, or is absolute, is an error.
func cleanPath(base, p string) (string, error) {
	switch {
	case strings.HasPrefix(p, "/"):
		return "", fmt.Errorf("%q is absolute; it must be relative", short(p))
	case strings.IndexByte(p, 0) >= 0:
		return "", fmt.Errorf("%q has a zero byte in it", short(p))
	case len(base)+len(p) > maxPath:
		return "", fmt.Errorf("%q is longer than %d bytes", short(p), maxPath)
	}
	clean := path.Join(base, p) // cleans what is joined
	switch {
	case clean == ".":
		return "", nil
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "", fmt.Errorf("%q leaves the input root", short(p))
	}
	for name := range strings.SplitSeq(clean, "/") {
		if len(name) > maxName {
			return "", fmt.Errorf("%q has a component longer than %d bytes", short(p), maxName)
		}
	}
	return clean, nil
}

// splitPath splits a clean path into the directory, "" for the root, and the name.
func splitPath(p string) (dir, name string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

func short(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

package images

import (
	"io/fs"
	"maps"
	"path"
	"slices"
)

// Stats say what an image's tree holds.
type Stats struct {
	Files, Directories, Symlinks int
	Bytes                        int64     // of files; those with several names count each time
	Skipped                      []Skipped // in the order of their paths
}

// Skipped is an entry that a tree cannot hold.
type Skipped struct {
	Path string
	Why  string // such as "character device"
}

// plan is what is to be laid out, with paths relative to the root.
type plan struct {
	dirs  []plannedDir // parents first, the root before all
	files map[int]map[int]*plannedFile
	links []plannedLink
	stats Stats
}

type plannedDir struct {
	path string
	perm fs.FileMode
}

// plannedFile is a content and all its names.
type plannedFile struct {
	*content
	paths []string
}

type plannedLink struct{ path, target string }

// plan lists what the layers have left. Names are sorted, so that equal trees give
// equal plans.
func (t *tree) plan() (*plan, error) {
	p := &plan{files: map[int]map[int]*plannedFile{}}
	return p, p.add(".", t.root)
}

func (p *plan) add(at string, n *node) error {
	if len(at) > maxPath {
		return malformed("a path is longer than %d bytes: %.40q...", maxPath, at)
	}
	switch n.kind {
	case dirKind:
		p.dirs = append(p.dirs, plannedDir{at, n.perm})
		p.stats.Directories++
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			if err := p.add(path.Join(at, name), n.children[name]); err != nil {
				return err
			}
		}
	case fileKind:
		p.addFile(at, n.content)
	case linkKind:
		p.links = append(p.links, plannedLink{at, n.target})
		p.stats.Symlinks++
	case otherKind:
		p.stats.Skipped = append(p.stats.Skipped, Skipped{at, n.what})
	}
	return nil
}

func (p *plan) addFile(at string, c *content) {
	layer := p.files[c.layer]
	if layer == nil {
		layer = map[int]*plannedFile{}
		p.files[c.layer] = layer
	}
	f := layer[c.index]
	if f == nil {
		f = &plannedFile{content: c}
		layer[c.index] = f
	}
	f.paths = append(f.paths, at)
	p.stats.Files++
	p.stats.Bytes += c.size
}

// bytes is what is to be written of files, each content once.
func (p *plan) bytes() (contents, bytes int64) {
	for _, layer := range p.files {
		for _, f := range layer {
			contents++
			bytes += f.size
		}
	}
	return contents, bytes
}

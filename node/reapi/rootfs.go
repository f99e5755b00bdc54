package reapi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Bounds on following one path through an input root.
const (
	maxSymlinks       = 16
	maxPathSegments   = 128
	maxDirectoryBytes = 16 << 20
)

// What parsedAction.rootFS holds.
const (
	rootFSUnknown = iota
	rootFSNo
	rootFSYes
)

// refuseRootFS refuses to queue for hosttools an action whose input root is a
// root file system: run on the host, such an action writes into the host's /.
func (a *actions) refuseRootFS(ctx context.Context, p *parsedAction) error {
	if p.rootFS.Load() == rootFSUnknown {
		yes, err := a.isRootFS(ctx, p)
		if err != nil {
			return err
		}
		if yes {
			p.rootFS.Store(rootFSYes)
		} else {
			p.rootFS.Store(rootFSNo)
		}
	}
	if p.rootFS.Load() == rootFSNo {
		return nil
	}
	advice := "it needs the runner bubblewrap, which no worker offers."
	if p.platform.runner == runnerHosttools {
		advice = "it never runs under hosttools; leave the property runner out, or ask for bubblewrap."
	}
	return status.Error(codes.FailedPrecondition,
		"The input root is a root file system (bin/sh, usr/bin/env or the program itself is in it): "+advice)
}

// isRootFS tells whether the input root holds bin/sh, usr/bin/env or the
// absolute path that the command starts.
func (a *actions) isRootFS(ctx context.Context, p *parsedAction) (bool, error) {
	w := treeWalk{blobs: a.blobs, root: p.inputRoot, seen: make(map[digest.Digest]*repb.Directory)}
	for _, name := range []string{"bin/sh", "usr/bin/env", p.program} {
		if name == "" {
			continue
		}
		found, err := w.hasFile(ctx, name)
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// treeWalk resolves paths in an input root.
type treeWalk struct {
	blobs blobs
	root  digest.Digest
	seen  map[digest.Digest]*repb.Directory
}

// hasFile tells whether name, taken from the root, leads to a file. Symlinks to
// directories are followed inside the root; a symlink as the last segment counts
// as a file, wherever it points.
func (w treeWalk) hasFile(ctx context.Context, name string) (bool, error) {
	rest := splitPath(name)
	var at []digest.Digest // directories from the root down to here
	at = append(at, w.root)
	for steps, links := 0, 0; len(rest) > 0 && steps < maxPathSegments; steps++ {
		segment := rest[0]
		rest = rest[1:]
		if segment == ".." {
			at = at[:max(1, len(at)-1)]
			continue
		}
		dir, err := w.directory(ctx, at[len(at)-1])
		if err != nil || dir == nil {
			return false, err
		}
		switch child := childOf(dir, segment).(type) {
		case *repb.FileNode:
			return len(rest) == 0, nil
		case *repb.DirectoryNode:
			d, err := digest.FromProto(w.root.Function, child.GetDigest())
			if err != nil {
				return false, nil
			}
			at = append(at, d)
		case *repb.SymlinkNode:
			if len(rest) == 0 {
				return true, nil
			}
			if links++; links > maxSymlinks {
				return false, nil
			}
			if strings.HasPrefix(child.GetTarget(), "/") {
				at = at[:1]
			}
			rest = append(splitPath(child.GetTarget()), rest...)
		default:
			return false, nil
		}
	}
	return false, nil
}

// directory reads one Directory; nil when it is none, which InputRoot has told
// the client already.
func (w treeWalk) directory(ctx context.Context, d digest.Digest) (*repb.Directory, error) {
	if dir := w.seen[d]; dir != nil {
		return dir, nil
	}
	dir := new(repb.Directory)
	if d.Size > maxDirectoryBytes {
		return nil, invalidField("action.input_root_digest", fmt.Sprintf("holds a Directory of %d bytes: at most %d are taken", d.Size, maxDirectoryBytes))
	}
	if !d.IsEmpty() {
		data, err := w.blobs.Get(ctx, d)
		if errors.Is(err, cas.ErrNotFound) {
			return nil, missingBlobs([]digest.Digest{d})
		}
		if err != nil {
			return nil, statusOf(err)
		}
		if proto.Unmarshal(data, dir) != nil {
			return nil, nil
		}
	}
	w.seen[d] = dir
	return dir, nil
}

// childOf returns the *repb.FileNode, DirectoryNode or SymlinkNode of that name,
// or nil.
func childOf(dir *repb.Directory, name string) any {
	for _, n := range dir.GetDirectories() {
		if n.GetName() == name {
			return n
		}
	}
	for _, n := range dir.GetSymlinks() {
		if n.GetName() == name {
			return n
		}
	}
	for _, n := range dir.GetFiles() {
		if n.GetName() == name {
			return n
		}
	}
	return nil
}

// splitPath returns the segments of a path, without empty ones and ".".
func splitPath(p string) []string {
	var segments []string
	for s := range strings.SplitSeq(p, "/") {
		if s != "" && s != "." {
			segments = append(segments, s)
		}
	}
	return segments
}

package client

import (
	"context"
	"fmt"
	"path"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// DownloadOutputs lays the outputs of an ActionResult out in the local directory
// dir. base is the slash-separated path within dir that the result's paths are
// relative to (the command's working directory). Only outputs that asked names,
// which are relative to base too, are taken; a result that names others is
// ErrMalformed.
func (c *Client) DownloadOutputs(ctx context.Context, r *repb.ActionResult, dir, base string, asked []string, p *Progress) (DownloadStats, error) {
	pl := newPlan()
	o := outputs{c: c, plan: pl, base: base, asked: map[string]bool{}}
	for _, a := range asked {
		o.asked[path.Clean(a)] = true
	}
	if err := o.collect(ctx, r); err != nil {
		return DownloadStats{}, err
	}
	return c.carryOut(ctx, pl, dir, p)
}

// OutputPaths returns the paths of all outputs of r, as it names them.
func OutputPaths(r *repb.ActionResult) []string {
	var out []string
	for _, f := range r.GetOutputFiles() {
		out = append(out, f.Path)
	}
	for _, d := range r.GetOutputDirectories() {
		out = append(out, d.Path)
	}
	for _, l := range symlinksOf(r) {
		out = append(out, l.Path)
	}
	return out
}

// symlinksOf joins the newer list with the two older ones, each path once.
func symlinksOf(r *repb.ActionResult) []*repb.OutputSymlink {
	var out []*repb.OutputSymlink
	seen := map[string]bool{}
	for _, list := range [][]*repb.OutputSymlink{r.GetOutputSymlinks(), r.GetOutputFileSymlinks(), r.GetOutputDirectorySymlinks()} {
		for _, l := range list {
			if !seen[l.Path] {
				seen[l.Path] = true
				out = append(out, l)
			}
		}
	}
	return out
}

type outputs struct {
	c     *Client
	plan  *plan
	base  string
	asked map[string]bool
}

func (o *outputs) collect(ctx context.Context, r *repb.ActionResult) error {
	for _, f := range r.OutputFiles {
		at, err := o.place(f.Path)
		if err != nil {
			return err
		}
		d, err := digest.FromProto(o.c.fn, f.Digest)
		if err != nil {
			return fmt.Errorf("%w: output %q: %w", ErrMalformed, f.Path, err)
		}
		if err := o.plan.addFile(at, d, f.IsExecutable, propertiesOf(f.NodeProperties)); err != nil {
			return err
		}
	}
	for _, l := range symlinksOf(r) {
		at, err := o.place(l.Path)
		if err != nil {
			return err
		}
		if err := o.plan.addLink(at, l.Target); err != nil {
			return err
		}
	}
	for _, d := range r.OutputDirectories {
		if err := o.directory(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// place checks an output's path and plans the directory that it lies in.
func (o *outputs) place(name string) (string, error) {
	if !o.asked[path.Clean(name)] {
		return "", fmt.Errorf("%w: the result names the output %q, which was not asked for", ErrMalformed, name)
	}
	at := path.Join(".", o.base, name)
	if at == ".." || strings.HasPrefix(at, "../") || path.IsAbs(at) {
		return "", fmt.Errorf("%w: the output %q lies outside of the input root", ErrMalformed, name)
	}
	if parent := path.Dir(at); parent != "." {
		o.plan.dirs = append(o.plan.dirs, plannedDir{path: parent, parent: true})
	}
	return at, nil
}

func (o *outputs) directory(ctx context.Context, d *repb.OutputDirectory) error {
	at, err := o.place(d.Path)
	if err != nil {
		return err
	}
	if d.TreeDigest == nil {
		root, err := digest.FromProto(o.c.fn, d.RootDirectoryDigest)
		if err != nil {
			return fmt.Errorf("%w: output %q: %w", ErrMalformed, d.Path, err)
		}
		dirs, err := o.c.GetTree(ctx, root)
		if err != nil {
			return err
		}
		return o.plan.addTree(at, root, dirs)
	}
	tree, err := digest.FromProto(o.c.fn, d.TreeDigest)
	if err != nil {
		return fmt.Errorf("%w: output %q: %w", ErrMalformed, d.Path, err)
	}
	root, dirs, err := o.c.fetchTreeMessage(ctx, tree)
	if err != nil {
		return err
	}
	return o.plan.addTree(at, root, dirs)
}

// fetchTreeMessage reads a Tree (REAPI, Tree): its directories under the digests
// of the bytes they came in.
func (c *Client) fetchTreeMessage(ctx context.Context, tree digest.Digest) (digest.Digest, Directories, error) {
	data, err := c.FetchBytes(ctx, tree, maxDirectory)
	if err != nil {
		return digest.Digest{}, nil, err
	}
	root, dirs, err := parseTree(c.fn, data)
	if err != nil {
		return digest.Digest{}, nil, fmt.Errorf("%w: %s is not a Tree", ErrMalformed, tree)
	}
	return root, dirs, nil
}

// Field numbers of a Tree.
const (
	treeRoot     = 1
	treeChildren = 2
)

func parseTree(fn digest.Function, data []byte) (digest.Digest, Directories, error) {
	root, dirs := fn.Empty(), Directories{fn.Empty(): &repb.Directory{}}
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return root, nil, protowire.ParseError(n)
		}
		data = data[n:]
		if kind != protowire.BytesType || (number != treeRoot && number != treeChildren) {
			if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
				return root, nil, protowire.ParseError(n)
			}
			data = data[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return root, nil, protowire.ParseError(n)
		}
		data = data[n:]
		dir := &repb.Directory{}
		if err := proto.Unmarshal(value, dir); err != nil {
			return root, nil, err
		}
		d := digest.Of(fn, value)
		dirs[d] = dir
		if number == treeRoot {
			root = d
		}
	}
	return root, dirs, nil
}

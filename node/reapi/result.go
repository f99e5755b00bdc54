package reapi

import (
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// checkResult holds a client's ActionResult against the specification, as far as
// that can be told without reading blobs (REAPI, ActionResult).
func checkResult(fn digest.Function, r *repb.ActionResult) error {
	if r == nil {
		return invalidField("action_result", "is not set")
	}
	c := resultCheck{fn: fn}
	for i, f := range r.GetOutputFiles() {
		c.path("output_files", i, f.GetPath(), false)
		c.digest("output_files", i, "digest", f.GetDigest())
	}
	for i, d := range r.GetOutputDirectories() {
		c.directory(i, d)
	}
	for _, list := range []struct {
		field string
		links []*repb.OutputSymlink
	}{
		{"output_symlinks", r.GetOutputSymlinks()},
		{"output_file_symlinks", r.GetOutputFileSymlinks()},           //nolint:staticcheck // clients of 2.0 send it
		{"output_directory_symlinks", r.GetOutputDirectorySymlinks()}, //nolint:staticcheck // and this
	} {
		for i, l := range list.links {
			c.path(list.field, i, l.GetPath(), false)
			if l.GetTarget() == "" {
				c.fail(list.field, i, "target", "is empty")
			}
		}
	}
	c.optional("stdout_digest", r.GetStdoutDigest())
	c.optional("stderr_digest", r.GetStderrDigest())
	return c.err
}

// resultCheck keeps the first thing that is wrong.
type resultCheck struct {
	fn  digest.Function
	err error
}

func (c *resultCheck) fail(list string, i int, field, rule string) {
	if c.err == nil {
		c.err = invalidField(fmt.Sprintf("action_result.%s[%d].%s", list, i, field), rule)
	}
}

// path checks that a path is relative. It may begin with "..": it starts at a
// working directory that is not known here.
func (c *resultCheck) path(list string, i int, p string, mayBeEmpty bool) {
	rule := relativeRule(p)
	if p == "" && !mayBeEmpty {
		rule = "is empty"
	}
	if rule != "" {
		c.fail(list, i, "path", rule)
	}
}

func (c *resultCheck) digest(list string, i int, field string, p *repb.Digest) {
	if _, err := digest.FromProto(c.fn, p); err != nil {
		c.fail(list, i, field, err.Error())
	}
}

// directory wants the Tree, or the root of a directory that is in the CAS (REAPI,
// OutputDirectory).
func (c *resultCheck) directory(i int, d *repb.OutputDirectory) {
	const list = "output_directories"
	c.path(list, i, d.GetPath(), true)
	if d.GetTreeDigest() == nil && d.GetRootDirectoryDigest() == nil {
		c.fail(list, i, "tree_digest", "is not set, nor is root_directory_digest")
	}
	if d.GetTreeDigest() != nil {
		c.digest(list, i, "tree_digest", d.GetTreeDigest())
	}
	if d.GetRootDirectoryDigest() != nil {
		c.digest(list, i, "root_directory_digest", d.GetRootDirectoryDigest())
	}
}

func (c *resultCheck) optional(field string, p *repb.Digest) {
	if p == nil || c.err != nil {
		return
	}
	if _, err := digest.FromProto(c.fn, p); err != nil {
		c.err = invalidField("action_result."+field, err.Error())
	}
}

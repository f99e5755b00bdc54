// Package bazel makes a C++ workspace and builds it with Debian's Bazel 4.2.3,
// without any network but the connection to the node.
package bazel

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files are the stand-ins for repositories that Bazel 4 would download, and the
// workspace without its library.
//
//go:embed files
var files embed.FS

// Workspace is a generated C++ workspace with its own Bazel state. One command
// runs at a time.
type Workspace struct {
	// Server is the node's gRPC address; empty: builds are local.
	Server   string
	Instance string
	Flags    []string // of build and test, after those that are always given

	root string // of everything
}

// New writes a workspace beneath dir: a library of so many parts, of one C++ file
// each, a program and a test that use them all, genrules, a rule that makes a
// directory, and //fail, which fails. The seed makes the sources differ from
// those of another seed.
func New(dir, server, instance string, parts, seed int) (*Workspace, error) {
	w := &Workspace{Server: server, Instance: instance, root: dir}
	if err := extract(files, "files", dir); err != nil {
		return nil, fmt.Errorf("write the workspace: %w", err)
	}
	lib := filepath.Join(w.Dir(), "lib")
	for name, content := range library(parts, seed) {
		if err := writeFile(filepath.Join(lib, name), content); err != nil {
			return nil, fmt.Errorf("write the workspace: %w", err)
		}
	}
	for _, d := range []string{"home", "output"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("write the workspace: %w", err)
		}
	}
	return w, nil
}

// Dir returns the directory of the workspace.
func (w *Workspace) Dir() string { return filepath.Join(w.root, "workspace") }

// Remove removes everything; Bazel leaves directories that are not writable.
func (w *Workspace) Remove() error {
	_ = filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o755)
		}
		return nil
	})
	return os.RemoveAll(w.root)
}

func extract(from fs.FS, prefix, to string) error {
	return fs.WalkDir(from, prefix, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(to, strings.TrimPrefix(path, prefix)), string(content))
	})
}

// library returns the files of //lib, by name.
func library(parts, seed int) map[string]string {
	var build, include, sum, deps strings.Builder
	out := map[string]string{}
	total := 0
	for i := range parts {
		value := (i*7919 + seed) % 10007
		total += value
		name := fmt.Sprintf("part%d", i)
		fmt.Fprintf(&build, "cc_library(name = %q, srcs = [%q], hdrs = [%q])\n", name, name+".cc", name+".h")
		fmt.Fprintf(&include, "#include \"lib/%s.h\"\n", name)
		fmt.Fprintf(&sum, " + %s()", name)
		fmt.Fprintf(&deps, "%q, ", ":"+name)
		out[name+".h"] = fmt.Sprintf("#pragma once\nint %s();\n", name)
		out[name+".cc"] = fmt.Sprintf("#include \"lib/%s.h\"\n\n#include <cstdlib>\n\nint %s() { return std::abs(-%d); }\n", name, name, value)
	}
	out["all.h"] = fmt.Sprintf("#pragma once\n%s\n#define EXPECTED_SUM %d\nint sum_of_parts();\n", include.String(), total)
	out["all.cc"] = fmt.Sprintf("#include \"lib/all.h\"\n\nint sum_of_parts() { return 0%s; }\n", sum.String())
	fmt.Fprintf(&build, "cc_library(name = \"all\", srcs = [\"all.cc\"], hdrs = [\"all.h\"], deps = [%s], visibility = [\"//visibility:public\"])\n", deps.String())
	out["BUILD"] = build.String()
	return out
}

func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

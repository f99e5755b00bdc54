package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	root         = "../.."
	maxFileLines = 500
	maxMainLines = 60
)

// goFiles calls do for each Go file that people wrote.
func goFiles(t *testing.T, do func(path string, source []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || (strings.HasPrefix(name, ".") && name != ".." && name != ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".pb.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		do(strings.TrimPrefix(path, root+"/"), source)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesHaveOneIdea(t *testing.T) {
	goFiles(t, func(path string, source []byte) {
		lines, most := bytes.Count(source, []byte("\n")), maxFileLines
		if path == "cmd/bgrid-node/main.go" {
			most = maxMainLines
		}
		if lines > most {
			t.Errorf("%s has %d lines, at most %d: split it by verb", path, lines, most)
		}
	})
}

func TestNothingRunsBeforeMain(t *testing.T) {
	goFiles(t, func(path string, source []byte) {
		file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("parse %s: %v", path, err)
			return
		}
		if file.Name.Name == "util" || file.Name.Name == "utils" {
			t.Errorf("%s: no package is called %s", path, file.Name.Name)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", path)
			}
		}
	})
}

package layout

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pins are versions that must not drift apart, and why.
var pins = [...]struct{ module, version, why string }{
	{"modernc.org/sqlite", "v1.62.0", "sqlite is generated against exactly one libc"},
	{"modernc.org/libc", "v1.80.1", "the libc that modernc.org/sqlite v1.62.0 is generated against; another one corrupts memory"},
	{"github.com/hashicorp/raft", "v1.8.0", "raft-boltdb v2.3.0 is the last that compiles with it, and raftfsm relies on what it does inside (raftfsm/DESIGN.md)"},
	{"github.com/hashicorp/raft-boltdb/v2", "v2.3.0", "v2.3.1 needs go-metrics/compat, which is gone from what raft v1.8.0 uses; the root path's boltdb is archived and dies under -race"},
	{"go.etcd.io/bbolt", "v1.5.0", "the log's format and its syncs were tested with this one"},
}

type requirement struct {
	module, version string
	indirect        bool
}

func TestPinsHold(t *testing.T) {
	have := map[string]string{}
	for _, r := range requirements(t) {
		have[r.module] = r.version
	}
	for _, p := range pins {
		if have[p.module] != p.version {
			t.Errorf("go.mod has %s %s, want %s: %s", p.module, have[p.module], p.version, p.why)
		}
	}
}

func TestNoModuleIsReplaced(t *testing.T) {
	for line := range strings.Lines(string(read(t, "go.mod"))) {
		if strings.HasPrefix(line, "replace") {
			t.Errorf("%s: a replace breaks `go install`", strings.TrimSpace(line))
		}
	}
}

func TestEachDependencyIsJustified(t *testing.T) {
	rows := map[string]int{} // columns filled in, by module
	for line := range strings.Lines(string(read(t, "DEPENDENCIES.md"))) {
		row, isRow := strings.CutPrefix(line, "|")
		if !isRow {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(row), "|"), "|")
		if name := strings.Trim(strings.TrimSpace(cells[0]), "`"); strings.Contains(name, ".") {
			for _, cell := range cells {
				if strings.TrimSpace(cell) != "" {
					rows[name]++
				}
			}
		}
	}
	required := map[string]bool{}
	for _, r := range requirements(t) {
		required[r.module] = true
		if r.indirect {
			continue
		}
		if rows[r.module] < 3 {
			t.Errorf("DEPENDENCIES.md does not give the reason and licence of %s", r.module)
		}
	}
	for name := range rows {
		if !required[name] {
			t.Errorf("DEPENDENCIES.md lists %s, which go.mod does not require", name)
		}
	}
}

func requirements(t *testing.T) []requirement {
	t.Helper()
	var all []requirement
	inBlock := false
	for lines := bufio.NewScanner(bytes.NewReader(read(t, "go.mod"))); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		single, isSingle := strings.CutPrefix(line, "require ")
		switch {
		case line == "require (":
			inBlock = true
			continue
		case line == ")":
			inBlock = false
			continue
		case isSingle:
			line = single
		case !inBlock:
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		all = append(all, requirement{words[0], words[1], strings.HasSuffix(line, "// indirect")})
	}
	if len(all) == 0 {
		t.Fatal("go.mod requires nothing")
	}
	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

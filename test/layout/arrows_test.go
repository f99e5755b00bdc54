// Package layout keeps the rules of docs/ARCHITECTURE.md that the compiler does
// not: which package may import which, how large files may be, what is pinned.
package layout

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/bgrid-node/bgrid-node/"

// arrows says what a package may import of this module: requests flow down. A
// name ending in /... means the package and all beneath it. Every package must be
// listed; the first row that matches holds.
var arrows = [...]struct {
	from string
	to   string
}{
	{"cmd/bgrid-node", "node node/client/... node/cluster/kubetoken"},
	{"node/reapi/...", "node/sched node/logstream raftfsm/... store/..."},
	{"node/logstream", "store/digest"},
	{"node/bots/...", "node/bots/... node/sched raftfsm/... store/..."},
	{"node/admin/...", "node/sched store/cas store/actioncache"},
	{"node/cluster/...", "node/cluster/... node/sched node/client/... raftfsm/... store/..."},
	{"node/sched/...", "raftfsm/... store/..."},
	{"node/client/images", "node/client store/digest"},
	{"node/client/...", "node/client/... store/digest"},
	{"node/worker/...", "node/client node/bots/botspb runners/... store/digest"},
	{"node", "node/reapi node/bots/... node/admin node/cluster/... node/logstream node/sched node/client node/worker raftfsm/... store/... runners/..."},
	{"raftfsm/...", "raftfsm/commandpb store/queue/... store/actioncache store/digest"},
	{"store/actioncache/...", "store/cas store/digest store/engine"},
	{"store/cas/...", "store/cas/... store/digest store/engine"},
	{"store/engine", ""},
	{"store/queue/...", "store/queue/... store/digest"},
	{"store/digest", ""},
	{"runners/...", "runners/... store/digest"},
	{"packaging/...", ""},
	{"test/...", "..."},
}

func TestImportsFollowTheArrows(t *testing.T) {
	out := goList(t, "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	packages := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		from := strings.TrimPrefix(words[0], module)
		packages++
		allowed, listed := allowedFrom(from)
		if !listed {
			t.Errorf("package %s is in no row of arrows", from)
			continue
		}
		for _, imported := range words[1:] {
			to, ours := strings.CutPrefix(imported, module)
			if ours && !matchesAny(to, allowed) {
				t.Errorf("%s imports %s; it may import: %s", from, to, allowed)
			}
		}
	}
	if packages == 0 {
		t.Fatal("go list named no package")
	}
}

// TestLeavesStayLight looks at everything that a package pulls in, however far
// away: the layers that know nothing of gRPC servers, or of storage engines, must
// stay so.
func TestLeavesStayLight(t *testing.T) {
	for _, c := range []struct{ pkg, without string }{
		{"store/digest", "github.com/dgraph-io/badger modernc.org/ github.com/spf13/"},
		{"store/queue", "github.com/dgraph-io/badger github.com/spf13/ net/http/pprof"},
		{"store/cas", "modernc.org/ github.com/spf13/"},
		{"node/client", "github.com/dgraph-io/badger modernc.org/ github.com/google/go-containerregistry github.com/docker/"},
		{"node/worker", "github.com/dgraph-io/badger modernc.org/ github.com/google/go-containerregistry github.com/docker/"},
		{"node/client/images", "github.com/dgraph-io/badger modernc.org/ github.com/moby/"},
		{"runners", "github.com/dgraph-io/badger modernc.org/ github.com/spf13/"},
	} {
		for dep := range strings.Lines(string(goList(t, "list", "-deps", "./"+c.pkg))) {
			dep = strings.TrimSpace(dep)
			for _, heavy := range strings.Fields(c.without) {
				if strings.HasPrefix(dep, heavy) {
					t.Errorf("%s pulls in %s", c.pkg, dep)
				}
			}
		}
	}
}

func allowedFrom(pkg string) (string, bool) {
	for _, row := range arrows {
		if matchesAny(pkg, row.from) {
			return row.to, true
		}
	}
	return "", false
}

func matchesAny(pkg, patterns string) bool {
	for _, p := range strings.Fields(patterns) {
		prefix, tree := strings.CutSuffix(p, "...")
		if pkg == p || (tree && (strings.HasPrefix(pkg, prefix) || pkg == strings.TrimSuffix(prefix, "/"))) {
			return true
		}
	}
	return false
}

func TestArrowPatterns(t *testing.T) {
	for _, c := range []struct {
		pkg, patterns string
		want          bool
	}{
		{"store/cas", "store/...", true},
		{"store", "store/...", true},
		{"storex", "store/...", false},
		{"node/sched", "node", false},
		{"anything", "...", true},
	} {
		if have := matchesAny(c.pkg, c.patterns); have != c.want {
			t.Errorf("%s in %q: have %t", c.pkg, c.patterns, have)
		}
	}
}

func goList(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

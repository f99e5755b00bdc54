package k8s

import (
	"maps"
	"os/exec"
	"strings"
	"testing"
)

const manifests = "../../k8s"

func load(t *testing.T, dir string) (map[string][]byte, *Set) {
	t.Helper()
	files, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	set, err := Decode(files)
	if err != nil {
		t.Fatal(err)
	}
	return files, set
}

func TestManifestsHold(t *testing.T) {
	_, set := load(t, manifests)
	for _, problem := range set.Check() {
		t.Error(problem)
	}
	if n := len(set.Workloads()); n != 5 {
		t.Errorf("%d workloads, want the grid, the Job and three kinds of workers", n)
	}
}

// Each component's directory can be deployed by itself: the grid needs nothing of
// the workers', and the workers nothing but the grid.
func TestTheGridHoldsByItself(t *testing.T) {
	_, set := load(t, manifests+"/grid")
	for _, problem := range set.Check() {
		t.Error(problem)
	}
}

// TestPlantedMistakesAreCaught changes one line at a time, and wants the check to say
// so. Nearly all of these are taken by an API server, and fail later or never.
func TestPlantedMistakesAreCaught(t *testing.T) {
	files, _ := load(t, manifests)
	for _, c := range mistakes {
		t.Run(c.want, func(t *testing.T) {
			text := string(files[c.file])
			if !strings.Contains(text, c.old) {
				t.Fatalf("%s has no %q", c.file, c.old)
			}
			changed := maps.Clone(files)
			changed[c.file] = []byte(strings.Replace(text, c.old, c.new, 1))
			set, err := Decode(changed)
			problems := set.Check()
			if err != nil {
				problems = append(problems, err.Error())
			}
			if all := strings.Join(problems, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("%q in place of %q is not noticed; have:\n%s", c.new, c.old, all)
			}
		})
	}
}

// The word "privileged: true" must appear nowhere, whatever a check thinks of it.
func TestNoManifestAsksForPrivileges(t *testing.T) {
	files, _ := load(t, manifests)
	for name, data := range files {
		for _, word := range []string{"privileged: true", "hostPath", "hostNetwork", "SYS_ADMIN", "Unconfined"} {
			if strings.Contains(string(data), word) {
				t.Errorf("%s has %s", name, word)
			}
		}
	}
}

// What the checks are made with must not become part of the program.
func TestOnlyTestsKnowKubernetesTypes(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../../cmd/...", "../../node/...", "../../raftfsm/...", "../../runners/...", "../../store/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		if strings.HasPrefix(dep, "k8s.io/") || strings.HasPrefix(dep, "sigs.k8s.io/") {
			t.Errorf("the program pulls in %s", strings.TrimSpace(dep))
		}
	}
}

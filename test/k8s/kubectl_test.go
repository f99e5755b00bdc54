package k8s

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// kubectl runs it without a configuration of its user's.
func kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("needs kubectl")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestOneCommandCreatesEverything runs the commands of docs/kubernetes.md, all at once
// and a component at a time.
func TestOneCommandCreatesEverything(t *testing.T) {
	for _, dirs := range [][]string{{"."}, {"workers/userchroot", "workers/bubblewrap", "grid", "workers/hosttools"}} {
		server, url := startAPIServer(t)
		want := map[string]bool{}
		for _, dir := range dirs {
			_, set := load(t, filepath.Join(manifests, dir))
			for _, o := range set.Objects {
				want[o.id()] = true
			}
			if out, err := kubectl(t, "--server", url, "create", "--validate=false", "-Rf", filepath.Join(manifests, dir)); err != nil {
				t.Fatalf("kubectl create -Rf k8s/%s: %v\n%s", dir, err, out)
			}
		}
		if d := cmp.Diff(want, server.have); d != "" {
			t.Errorf("kubectl create -Rf of %q (-want +have):\n%s", dirs, d)
		}
	}
}

func TestASecondCreateChangesNothing(t *testing.T) {
	server, url := startAPIServer(t)
	create := []string{"--server", url, "create", "--validate=false", "-Rf", manifests}
	if out, err := kubectl(t, create...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before := maps.Clone(server.have)
	out, err := kubectl(t, create...)
	if n := strings.Count(out, "AlreadyExists"); err == nil || n != len(before) {
		t.Errorf("%d of %d objects are said to exist (%v):\n%s", n, len(before), err, out)
	}
	if d := cmp.Diff(before, server.have); d != "" || len(server.other) > 0 {
		t.Errorf("changed: %s %q", d, server.other)
	}
}

// TestOverlaysHold builds each overlay, and holds the result to what the manifests
// are held to.
func TestOverlaysHold(t *testing.T) {
	if out, err := kubectl(t, "version", "--client"); err != nil { // or skips all of them
		t.Fatalf("%v\n%s", err, out)
	}
	for overlay, check := range map[string]func(*testing.T, *Set){
		"packaging/kustomize/one-node": func(t *testing.T, s *Set) {
			for _, w := range s.Workloads() {
				if w.Replicas != 1 {
					t.Errorf("%s has %d replicas", w.ID, w.Replicas)
				}
			}
		},
		"packaging/kustomize/seccomp": func(t *testing.T, s *Set) {
			for _, w := range s.Workloads() {
				p := w.Pod.SecurityContext.SeccompProfile
				if slices.Contains(sandboxes, w.ID) && (p == nil || p.Type != corev1.SeccompProfileTypeLocalhost) {
					t.Errorf("%s has the profile %v", w.ID, p)
				}
			}
		},
		"packaging/kustomize/registry": func(t *testing.T, s *Set) {
			for _, w := range s.Workloads() {
				if image := w.Pod.Containers[0].Image; !strings.HasPrefix(image, "registry.example.com/") {
					t.Errorf("%s has the image %s", w.ID, image)
				}
			}
		},
		"k8s": func(*testing.T, *Set) {},
	} {
		t.Run(filepath.Base(overlay), func(t *testing.T) {
			out, err := kubectl(t, "kustomize", filepath.Join("../..", overlay))
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			set, err := Decode(map[string][]byte{overlay: []byte(out)})
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range set.Check() {
				t.Error(problem)
			}
			_, plain := load(t, manifests)
			if len(set.Objects) != len(plain.Objects) {
				t.Errorf("%d objects, k8s has %d", len(set.Objects), len(plain.Objects))
			}
			check(t, set)
		})
	}
}

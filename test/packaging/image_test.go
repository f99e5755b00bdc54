package packaging

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func entry(h *tar.Header) string { return fmt.Sprintf("%s %04o %d", h.Name, h.Mode, h.Uid) }

// archive makes an image archive out of the grid's tree.
func archive(t *testing.T, tree, stage, tag string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), stage+".tar")
	output(t, "go", "run", top+"/packaging/image", "-dockerfile", top+"/packaging/Dockerfile", "-stage", stage, "-root", tree, "-tag", tag, "-epoch", "1700000000", "-o", out)
	return out
}

func TestImageArchives(t *testing.T) {
	tree := gridTree(t)
	file := archive(t, tree, "grid", "bgrid-node:dev")
	same(t, file, archive(t, tree, "grid", "bgrid-node:dev"))
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/usr/bin/bgrid-node"}, Env: []string{"PATH=/usr/bin"}, User: "65532:65532", WorkingDir: "/",
		ExposedPorts: map[string]struct{}{"50051/tcp": {}, "50052/tcp": {}, "8080/tcp": {}},
	}
	if d := cmp.Diff(want, config.Config); d != "" {
		t.Error(d)
	}
	// Whoever builds chroots out of images can build one out of this.
	dir := filepath.Join(t.TempDir(), "chroot")
	output(t, binary(), "chroot", "build", file, dir)
	if out := output(t, filepath.Join(dir, "usr/bin/bgrid-node"), "version"); !strings.HasPrefix(out, "bgrid-node ") {
		t.Errorf("have %q", out)
	}
}

// TestTheDockerfile checks what can be checked of it without a container engine: that
// it copies files that exist, and makes the images that the manifests name.
func TestTheDockerfile(t *testing.T) {
	data, err := os.ReadFile(top + "/packaging/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	copies := regexp.MustCompile(`(?m)^COPY ([^-].*) \S+$`).FindAllStringSubmatch(text, -1)
	if len(copies) < 3 {
		t.Errorf("%d COPY instructions are recognised", len(copies))
	}
	for _, c := range copies {
		for _, path := range strings.Fields(c[1]) {
			if _, err := os.Stat(filepath.Join(top, path)); err != nil {
				t.Errorf("COPY %s: %v", path, err)
			}
		}
	}
	images := map[string]bool{}
	for _, m := range regexp.MustCompile(`--target (\w+) +-t (\S+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, " AS "+m[1]+"\n") {
			t.Errorf("there is no stage %s", m[1])
		}
		images[m[2]] = true
	}
	manifests, err := filepath.Glob(top + "/k8s/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	workers, err := filepath.Glob(top + "/k8s/workers/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, path := range append(manifests, workers...) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`image: (\S+)`).FindAllStringSubmatch(string(data), -1) {
			used[m[1]] = true
		}
	}
	if d := cmp.Diff(images, used); d != "" {
		t.Errorf("images that are made and images that are used differ:\n%s", d)
	}
}

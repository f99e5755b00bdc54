package runners_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/runners/runnertest"
)

// compilerRoot makes a root file system whose compiler is at a path that no machine
// has.
func compilerRoot(t *testing.T) (dir, compiler string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc, to copy it")
	}
	cc1, err := exec.Command("gcc", "-print-prog-name=cc1").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	runnertest.RootFS(t, dir, "gcc", "as", "cat", "sh", strings.TrimSpace(string(cc1)))
	only := filepath.Join(dir, "opt/only-there")
	if err := os.MkdirAll(only, 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"bin/gcc": "gcc", "bin/as": "as", "bin" + strings.TrimSpace(string(cc1)): "cc1"} {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(only, to)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, "/opt/only-there/gcc"
}

// TestACompileWithWhatOnlyTheChrootHas sends what recc sends: sources by their paths
// below a prefix for the working directory, and output_files relative to it.
func TestACompileWithWhatOnlyTheChrootHas(t *testing.T) {
	dir, compiler := compilerRoot(t)
	b := startSandboxed(t)
	chroot := b.upload(dir)
	src := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("hello.c", "#include \"hello.h\"\nint hello(void) { return HELLO; }\n")}})
	include := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("hello.h", "#define HELLO 42\n")}})
	project := b.message(&repb.Directory{Directories: []*repb.DirectoryNode{
		{Name: "include", Digest: include.Proto()}, {Name: "src", Digest: src.Proto()},
	}})
	prefix := b.message(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "project", Digest: project.Proto()}}})
	root := b.message(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "recc", Digest: prefix.Proto()}}})
	cmd := &repb.Command{
		Arguments:        []string{compiler, "-B/opt/only-there/", "-g", "-I../include", "-c", "../src/hello.c", "-o", "hello.o"},
		WorkingDirectory: "recc/project/build",
		OutputFiles:      []string{"hello.o"},
	}
	var objects []string
	for range 2 {
		_, result := b.stdout(b.inRunner("userchroot", cmd, root, chrootOf(chroot)))
		if len(result.OutputFiles) != 1 || result.OutputFiles[0].Path != "hello.o" {
			t.Fatalf("outputs: %v", result)
		}
		objects = append(objects, b.text(result.OutputFiles[0].Digest))
	}
	f, err := elf.NewFile(strings.NewReader(objects[0]))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range symbols {
		found = found || s.Name == "hello"
	}
	if !found || objects[0] != objects[1] || !strings.Contains(objects[0], "/recc/project/build") {
		t.Errorf("symbols %v; twice the same: %t", symbols, objects[0] == objects[1])
	}

	// The same with the tree as input root, under bubblewrap.
	if err := os.MkdirAll(filepath.Join(dir, "recc/project"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"src/hello.c": "int hello(void) { return 42; }\n", "include/hello.h": ""} {
		path := filepath.Join(dir, "recc/project", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, result := b.stdout(b.inRunner("bubblewrap", cmd, b.upload(dir))); len(result.OutputFiles) != 1 {
		t.Errorf("outputs: %v", result)
	}
}

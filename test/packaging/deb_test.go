package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

const debScript = top + "/packaging/deb/build.sh"

// deb makes the package.
func deb(t *testing.T, variables ...string) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("needs dpkg-deb")
	}
	out := filepath.Join(t.TempDir(), "bgrid-node.deb")
	script(t, append(variables, "LEVEL=1"), debScript, out)
	return out
}

func TestTheDebianPackageIsTheSameEachTime(t *testing.T) {
	first := deb(t)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	same(t, first, deb(t, "TMPDIR="+t.TempDir(), "TZ=Asia/Tokyo"))
}

func TestVersionsOfThePackageAreDebians(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("needs dpkg")
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	for _, c := range []struct{ git, want string }{
		{"v1.2.3", "1.2.3"},
		{"1.2.3", "1.2.3"},
		{"v1.2.3-4-gabcdef0", "1.2.3+4+gabcdef0"},
		{"abcdef0-dirty", "0~20231114221320.abcdef0+dirty"},
		{"1234567", "0~20231114221320.1234567"},
	} {
		have := strings.TrimSpace(output(t, top+"/packaging/deb/version.sh", c.git))
		if have != c.want {
			t.Errorf("%s: have %s, want %s", c.git, have, c.want)
		}
		output(t, "dpkg", "--validate-version", have)
	}
}

// TestTheDebianPackageInstalls installs it in a Debian that has never seen it, runs
// what it brings as its services would, and removes it.
func TestTheDebianPackageInstalls(t *testing.T) {
	root := unpacked(t, needsDebian(t))
	file := deb(t)
	output(t, "cp", file, filepath.Join(root, "bgrid-node.deb"))
	chroot := func(args ...string) string {
		t.Helper()
		return output(t, "chroot", append([]string{root}, args...)...)
	}
	chroot("dpkg", "--install", "/bgrid-node.deb")
	if out := chroot("bgrid-node", "version"); !strings.HasPrefix(out, "bgrid-node ") {
		t.Errorf("have %q", out)
	}
	if out := chroot("getent", "passwd", "bgrid-worker"); !strings.Contains(out, ":/var/lib/bgrid-worker:") {
		t.Errorf("the worker's user: %q", out)
	}
	chroot("bgrid-node", "serve", "--check-config", "--config", "/etc/bgrid-node/config.yaml")
	chroot("bgrid-node", "worker", "--print-config", "--data-dir", "/tmp", "--config", "/etc/bgrid-node/worker.yaml")
	chroot("bash", "-n", "/usr/share/bash-completion/completions/bgrid-node")
	chroot("dpkg", "--verify", "bgrid-node")
	buildInside(t, root)

	changed := filepath.Join(root, "etc/bgrid-node/config.yaml")
	if err := os.WriteFile(changed, []byte("slots: 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	chroot("dpkg", "--install", "/bgrid-node.deb")
	if data, err := os.ReadFile(changed); err != nil || string(data) != "slots: 3\n" {
		t.Errorf("a changed configuration after an upgrade: %q, %v", data, err)
	}
	chroot("dpkg", "--purge", "bgrid-node")
	for _, path := range []string{"usr/bin/bgrid-node", "etc/bgrid-node", "usr/share/doc/bgrid-node", "usr/lib/systemd/system/bgrid-node.service"} {
		if _, err := os.Lstat(filepath.Join(root, path)); err == nil {
			t.Errorf("/%s is still there", path)
		}
	}
}

// buildInside runs an action on a node and a worker that use the package's
// configuration, in the Debian that it was installed in.
func buildInside(t *testing.T, root string) {
	t.Helper()
	grpc, err := harness.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	story := `set -e
		cd /tmp && echo 'int main(void) { return 0; }' >a.c
		bgrid-node serve --config /etc/bgrid-node/config.yaml --data-dir /var/tmp/node --listen ` + grpc + ` --http-listen off 2>node.log & node=$!
		bgrid-node worker --config /etc/bgrid-node/worker.yaml --data-dir /var/tmp/worker --server ` + grpc + ` --runner hosttools 2>worker.log & worker=$!
		until bgrid-node operation list --server ` + grpc + ` 2>>client.log; do kill -0 $node || { cat node.log; exit 1; }; done
		bgrid-node run --server ` + grpc + ` -p runner=hosttools -i a.c -o a.out -- gcc a.c && ./a.out
		kill $worker && wait $worker && kill $node && wait $node && echo built`
	out, err := tryOutput("bwrap", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-pid", "--die-with-parent", "--clearenv",
		"--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "--setenv", "HOME", "/root", "--", "sh", "-c", story)
	if err != nil || !strings.HasSuffix(out, "built\n") {
		t.Errorf("have %q, %v", out, err)
	}
}

package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const units = top + "/packaging/systemd/"

// systemdRoot makes a root directory as the package leaves it, as far as units name
// it.
func systemdRoot(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze")
	}
	root := t.TempDir()
	for _, unit := range []string{"bgrid-node.service", "bgrid-worker.service"} {
		output(t, "install", "-D", "-m", "0644", units+unit, filepath.Join(root, "usr/lib/systemd/system", unit))
	}
	output(t, "install", "-D", binary(), filepath.Join(root, "usr/bin/bgrid-node"))
	return root
}

func TestUnitsAreWellFormed(t *testing.T) {
	root := systemdRoot(t)
	for _, unit := range []string{"bgrid-node.service", "bgrid-worker.service"} {
		path := filepath.Join(root, "usr/lib/systemd/system", unit)
		// Units that are not in this root are no mistake of ours.
		out, _ := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "--root="+root, path).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "bgrid-") {
				t.Error(line)
			}
		}
	}
}

func TestAMistakeInAUnitIsNoticed(t *testing.T) {
	root := systemdRoot(t)
	path := filepath.Join(root, "usr/lib/systemd/system/bgrid-node.service")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"ProtectSystem=strict", "ProtectSystem=strictly", "strictly"},
		{"NoNewPrivileges", "NoNewPriviledges", "NoNewPriviledges"},
		{"/usr/bin/bgrid-node serve", "/usr/bin/bgrid-nod serve", "bgrid-nod"},
	} {
		if err := os.WriteFile(path, []byte(strings.Replace(string(data), c.old, c.new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "--root="+root, path).CombinedOutput()
		if !strings.Contains(string(out), c.want) {
			t.Errorf("%s is not noticed: %s", c.new, out)
		}
	}
}

// The node runs nobody's programs: systemd's own measure of exposure (0 is best, 10
// worst) stays below 1.5. The worker's is what sandboxes leave of it.
func TestUnitsAreHardened(t *testing.T) {
	root := systemdRoot(t)
	for unit, most := range map[string]string{"bgrid-node.service": "15", "bgrid-worker.service": "70"} {
		output(t, "systemd-analyze", "security", "--offline=yes", "--root="+root, "--threshold="+most, filepath.Join(root, "usr/lib/systemd/system", unit))
	}
}

// TestUnitsStartWhatIsThere runs the commands of the units with files of the package.
func TestUnitsStartWhatIsThere(t *testing.T) {
	for unit, check := range map[string]string{"bgrid-node.service": "--check-config", "bgrid-worker.service": "--print-config"} {
		data, err := os.ReadFile(units + unit)
		if err != nil {
			t.Fatal(err)
		}
		start := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/bgrid-node (.*)$`).FindStringSubmatch(string(data))
		dir := regexp.MustCompile(`(?m)^Environment=(BGRID_DATA_DIR=/var/lib/\S+)$`).FindStringSubmatch(string(data))
		if start == nil || dir == nil {
			t.Fatalf("%s has no ExecStart or no BGRID_DATA_DIR", unit)
		}
		if !strings.Contains(string(data), "\nStateDirectory="+filepath.Base(dir[1])+"\n") {
			t.Errorf("%s: %s is not its StateDirectory", unit, dir[1])
		}
		args := strings.Fields(strings.ReplaceAll(start[1], "/etc/bgrid-node", top+"/packaging/deb"))
		cmd := exec.Command(binary(), append(args, check)...)
		cmd.Env = append(os.Environ(), dir[1])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// TestTheWorkersUnitLeavesWhatSandboxesNeed names the settings that keep a runner
// from working.
func TestTheWorkersUnitLeavesWhatSandboxesNeed(t *testing.T) {
	data, err := os.ReadFile(units + "bgrid-worker.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{
		"DynamicUser", "RestrictSUIDSGID", "RestrictNamespaces", "SystemCallFilter", "PrivateUsers", "PrivateDevices", "ProtectKernelTunables", "ProtectControlGroups", "ProtectProc",
	} {
		if regexp.MustCompile(`(?m)^` + setting + `=`).Match(data) {
			t.Errorf("%s keeps sandboxes from being made", setting)
		}
	}
}

package packaging

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// seccompRole makes a copy of this program put the profile on itself and become the
// command that its arguments are, or, without any, try what is denied.
const seccompRole = "PACKAGING_TEST_SECCOMP"

// profile is Kubernetes' format of a seccomp profile, which is that of runc.
type profile struct {
	DefaultAction string
	Syscalls      []struct {
		Names    []string
		Action   string
		ErrnoRet uint32
	}
}

func readProfile(path string) (profile, error) {
	var p profile
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	return p, err
}

const profilePath = top + "/packaging/seccomp/bgrid-sandbox.json"

func TestTheSeccompProfileDeniesWhatItSays(t *testing.T) {
	p, err := readProfile(profilePath)
	if err != nil {
		t.Fatal(err)
	}
	if p.DefaultAction != "SCMP_ACT_ALLOW" {
		t.Errorf("defaultAction %s", p.DefaultAction)
	}
	for _, rule := range p.Syscalls {
		if rule.Action != "SCMP_ACT_ERRNO" || (rule.ErrnoRet != uint32(unix.EPERM) && rule.ErrnoRet != uint32(unix.ENOSYS)) {
			t.Errorf("%s %d for %q", rule.Action, rule.ErrnoRet, rule.Names)
		}
		for _, name := range rule.Names {
			if numbers != nil && numbers[name] == 0 && !slices.Contains(elsewhere, name) {
				t.Errorf("%s is no system call that this test knows", name)
			}
			if slices.Contains([]string{"clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root", "sethostname", "openat2", "chroot"}, name) {
				t.Errorf("sandboxes need %s", name)
			}
		}
	}
	if out, err := underProfile(t); err != nil || !strings.Contains(out, "keyctl: operation not permitted, fsopen: function not implemented") {
		t.Errorf("have %q, %v", out, err)
	}
}

// TestSandboxesWorkUnderTheSeccompProfile asks the program what it can do under it.
func TestSandboxesWorkUnderTheSeccompProfile(t *testing.T) {
	before, err := exec.Command(binary(), "doctor", "--data-dir", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Skipf("needs user namespaces: %s", before)
	}
	out, err := underProfile(t, binary(), "doctor", "--data-dir", t.TempDir())
	for _, want := range []string{"hosttools: available", "bubblewrap: available", "userchroot: available", "a seccomp profile filters system calls"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("not %q: %v\n%s", want, err, out)
		}
	}
}

func underProfile(t *testing.T, command ...string) (string, error) {
	t.Helper()
	if numbers == nil {
		t.Skip("needs the numbers of this machine's system calls, which are written down for amd64")
	}
	cmd := exec.Command(os.Args[0], command...)
	cmd.Env = append(os.Environ(), seccompRole+"="+profilePath)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// playSeccomp is what such a copy does.
func playSeccomp(path string, args []string) error {
	p, err := readProfile(path)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := confine(p); err != nil {
		return err
	}
	if len(args) > 0 {
		return syscall.Exec(args[0], args, os.Environ())
	}
	_, keyErr := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	_, fsErr := unix.Fsopen("tmpfs", 0)
	fmt.Printf("keyctl: %v, fsopen: %v\n", keyErr, fsErr)
	return nil
}

// confine puts the profile on this thread, and so on what it executes.
func confine(p profile) error {
	const (
		loadNumber = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		ifEqual    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give       = unix.BPF_RET | unix.BPF_K
	)
	program := []unix.SockFilter{{Code: loadNumber, K: 0}}
	for _, rule := range p.Syscalls {
		for _, name := range rule.Names {
			if n := numbers[name]; n != 0 {
				program = append(program, unix.SockFilter{Code: ifEqual, Jf: 1, K: n}, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ERRNO | rule.ErrnoRet})
			}
		}
	}
	program = append(program, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
}

// elsewhere are system calls of other machines, or of the past.
var elsewhere = []string{"clock_adjtime64", "clock_settime64", "stime", "vm86", "vm86old"}

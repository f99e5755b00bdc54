package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/bubblewrap"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/userchroot"
)

// Diagnosis is what a machine can do, a section each for the machine and for every
// runner.
type Diagnosis struct {
	Sections []Section
}

// Section is the findings about one thing.
type Section struct {
	Name     string
	Verdict  string // "" or what it comes to
	Findings []runners.Finding
}

// Healthy tells whether every runner works.
func (d *Diagnosis) Healthy() bool {
	for _, s := range d.Sections {
		if s.Verdict == notAvailable {
			return false
		}
	}
	return true
}

const (
	available    = "available"
	notAvailable = "not available"
)

// Doctor tries out what this machine can do for the runners of local workers with
// this configuration. It disturbs no node that is running.
func Doctor(c *Config) *Diagnosis {
	groups, groupsErr := cgroup.Find()
	scratch := existing(c.WorkDir)
	d := &Diagnosis{Sections: []Section{machineSection(c, groups, groupsErr)}}
	quiet := slog.New(slog.DiscardHandler)
	d.Sections = append(d.Sections, Section{Name: "hosttools", Verdict: available, Findings: []runners.Finding{
		runners.Good("runs actions with the host's tools as " + userName() + ", without isolation"),
	}})
	b, err := bubblewrap.New(bubblewrap.Options{Scratch: scratch, Hide: c.hidden(), Groups: groups, Logger: quiet})
	d.add("bubblewrap", b, err)
	u, err := userchroot.New(userchroot.Options{Scratch: scratch, Groups: groups, Logger: quiet})
	d.add("userchroot", u, err)
	return d
}

// add adds the section of a runner that was opened, or not.
func (d *Diagnosis) add(name string, r interface {
	Findings() []runners.Finding
	Close() error
}, err error) {
	s := Section{Name: name, Verdict: available}
	if err == nil {
		s.Findings = r.Findings()
		err = r.Close()
	}
	if err != nil {
		s.Verdict = notAvailable
		s.Findings = []runners.Finding{runners.Lacking(err.Error(), remedyFor(err))}
	}
	d.Sections = append(d.Sections, s)
}

func remedyFor(err error) string {
	if errors.Is(err, bubblewrap.ErrNoProgram) {
		return "Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap; Alpine: apk add bubblewrap"
	}
	return "allow user namespaces: see above; in a container: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or --privileged; " +
		"Kubernetes: no seccompProfile, or a Localhost one that allows unshare, clone and mount (packaging/kustomize/seccomp)"
}

// machineSection looks at what the runners have in common.
func machineSection(c *Config, groups *cgroup.Manager, groupsErr error) Section {
	s := Section{Name: "machine"}
	s.Findings = append(s.Findings, runners.Good(fmt.Sprintf("Linux %s, as %s", contentOf("/proc/sys/kernel/osrelease"), userName())))
	s.Findings = append(s.Findings, userNamespaces()...)
	s.Findings = append(s.Findings, seccompFindings()...)
	if groupsErr == nil {
		s.Findings = append(s.Findings, runners.Good(fmt.Sprintf("control groups of version %d limit memory, CPUs and processes", groups.Version())))
	} else {
		s.Findings = append(s.Findings, runners.Lacking("no control groups can be made ("+groupsErr.Error()+"): memory is limited for each process by itself, CPUs not at all",
			"systemd: Delegate=yes in the unit; a container: a writable cgroup, as with --cgroupns=private and --privileged"))
	}
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		s.Findings = append(s.Findings, runners.Lacking("/proc is not mounted: no runner works", "mount it"))
	}
	dir := existing(c.WorkDir)
	if dir == "" {
		s.Findings = append(s.Findings, runners.Lacking("--work-dir "+c.WorkDir+" cannot be written", "choose another --work-dir, or give "+userName()+" the right"))
	}
	return s
}

// userNamespaces looks at the switches that distributions have.
func userNamespaces() []runners.Finding {
	root := os.Geteuid() == 0
	for _, s := range []struct{ file, off, remedy string }{
		{"/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "an AppArmor profile with `userns,` for bgrid-node and bwrap, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if v := contentOf(s.file); v == s.off && (!root || strings.Contains(s.file, "max_user")) {
			return []runners.Finding{runners.Lacking(s.file+" is "+v+": no user namespaces", s.remedy)}
		}
	}
	if _, err := os.Stat("/proc/self/ns/user"); errors.Is(err, fs.ErrNotExist) {
		return []runners.Finding{runners.Lacking("the kernel has no user namespaces", "a kernel with CONFIG_USER_NS")}
	}
	return []runners.Finding{runners.Good("user namespaces are not switched off")}
}

func contentOf(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func userName() string {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Sprintf("an ordinary user (uid %d)", uid)
	}
	return "root"
}

// existing returns the directory, or the nearest above it that is there, if it can
// be written; otherwise "".
func existing(dir string) string {
	for {
		st, err := os.Stat(dir)
		if err == nil && st.IsDir() {
			probe, err := os.MkdirTemp(dir, "probe")
			if err != nil {
				return ""
			}
			_ = os.Remove(probe)
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// Print writes the diagnosis for people.
func (d *Diagnosis) Print(w io.Writer) error {
	var b strings.Builder
	for i, s := range d.Sections {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(s.Name)
		if s.Verdict != "" {
			b.WriteString(": " + s.Verdict)
		}
		b.WriteString("\n")
		for _, f := range s.Findings {
			mark := "ok  "
			if !f.Good {
				mark = "NO  "
			}
			fmt.Fprintf(&b, "  %s %s\n", mark, f.What)
			if f.Remedy != "" {
				fmt.Fprintf(&b, "       to mend: %s\n", f.Remedy)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

package k8s

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestTheProgramTakesWhatIsWritten runs each container's command with its arguments,
// environment and files, as far as the program only checks them.
func TestTheProgramTakesWhatIsWritten(t *testing.T) {
	_, set := load(t, manifests)
	for _, problem := range tryPrograms(t, set) {
		t.Error(problem)
	}
}

func TestTheProgramRefusesPlantedMistakes(t *testing.T) {
	files, _ := load(t, manifests)
	for _, c := range []struct{ file, old, new, want string }{
		{set, "args: [serve]", "args: [serv]", `no command "serv"`},
		{set, `value: "true"`, `value: "false"`, "add --allow-insecure-public-listen"},
		{set, "- name: BGRID_NODE_ID", "- name: BGRID_NODE_NAME", "BGRID_NODE_NAME is not an option"},
		{set, "bgrid-node, drain]", "bgrid-node, drian]", `no command ["drian"]`},
		{config, "cas-max-size", "cas-size", "cas-size"},
		{config, "slots: 0", "slots: none", "slots"},
		{config, "cluster-token-file: /etc/bgrid-node/cluster/token", "log-level: info", "--peers needs --cluster-token-file"},
		{host, "--slots=2", "--slot=2", "unknown flag: --slot"},
		{host, "--runner=hosttools", "--runner=host", "want one of"},
		{token, "--kubernetes-secret", "--secret", "unknown flag: --secret"},
	} {
		t.Run(c.want, func(t *testing.T) {
			changed := maps.Clone(files)
			changed[c.file] = []byte(strings.Replace(string(files[c.file]), c.old, c.new, 1))
			set, err := Decode(changed)
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(tryPrograms(t, set), "\n"); !strings.Contains(all, c.want) {
				t.Errorf("%q in place of %q is taken; have:\n%s", c.new, c.old, all)
			}
		})
	}
}

// tryPrograms returns what the program has against the commands of the set.
func tryPrograms(t *testing.T, s *Set) []string {
	t.Helper()
	var problems []string
	for _, w := range s.Workloads() {
		for _, c := range w.Pod.Containers {
			if err := tryContainer(t, s, &w, &c); err != nil {
				problems = append(problems, fmt.Sprintf("%s container %s: %v", w.ID, c.Name, err))
			}
		}
	}
	return problems
}

func tryContainer(t *testing.T, s *Set, w *Workload, c *corev1.Container) error {
	t.Helper()
	env, err := Environment(c, "bgrid-0", "10.0.0.1")
	if err != nil {
		return err
	}
	if at := env["BGRID_CONFIG"]; at != "" {
		text, err := s.mountedFile(w, c, at)
		if err != nil {
			return err
		}
		env["BGRID_CONFIG"] = filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(env["BGRID_CONFIG"], []byte(text), 0o600); err != nil {
			return err
		}
	}
	args := Arguments(c, env)
	switch c.Name {
	case "grid":
		err = try(env, append(args, "--check-config"))
	case "worker":
		err = try(env, append(args, "--print-config"))
	default: // the Job: here is no API server, which it finds out after its flags
		if err = try(env, args); err != nil && strings.Contains(err.Error(), "not in a Kubernetes pod") {
			err = nil
		}
	}
	if err != nil || c.Lifecycle == nil {
		return err
	}
	return tryHelp(c.Lifecycle.PreStop.Exec.Command[1:])
}

// tryHelp checks that there is a command, without running it: it would do something.
func tryHelp(args []string) error {
	out, err := exec.Command(os.Getenv("TEST_BGRID_NODE"), append(slices.Clone(args), "--help")...).CombinedOutput()
	if usage := "bgrid-node " + strings.Join(args, " ") + " ["; err != nil || !strings.Contains(string(out), usage) {
		return fmt.Errorf("no command %q: its help has no %q", args, usage)
	}
	return nil
}

// try runs the program in an environment like a container's.
func try(env map[string]string, args []string) error {
	cmd := exec.Command(os.Getenv("TEST_BGRID_NODE"), args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("%q: %w", args, err), errors.New(stderr.String()))
	}
	return nil
}

package kubelet

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// elsewhere are the commands of the guides that are not run here, and where they are.
var elsewhere = []struct{ begin, why string }{
	{"docker build", "no container engine: test/packaging builds the same trees"},
	{"kubectl create namespace", "there is one namespace here"},
	{"kubectl --namespace grid create -Rf k8s/", "test/k8s, TestOneCommandCreatesEverything"},
	{"kubectl --namespace grid delete -Rf k8s/", "the end of this test"},
	{"kubectl --namespace grid delete persistentvolumeclaim --selector", "the end of this test"},
	{"kubectl --namespace grid delete secret/bgrid-token", "the end of this test"},
	{"kubectl --namespace grid port-forward", "services have addresses here"},
	{"bazel build //...", "TestTheManifestsRun builds so"},
	{"bgrid-node chroot push", "test/cli, with an image of its own"},
}

// commands returns the lines of the shell blocks of a guide.
func commands(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(top + "/docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s has no commands", page)
	}
	return lines
}

// follow runs the commands of a guide, in their order, on the running grid.
func follow(t *testing.T, c *Cluster, page string) {
	t.Helper()
	for _, line := range commands(t, page) {
		if slices.ContainsFunc(elsewhere, func(e struct{ begin, why string }) bool { return strings.HasPrefix(line, e.begin) }) {
			continue
		}
		out, err := obey(t, c, line)
		if err != nil {
			t.Errorf("docs/%s: %s: %v\n%s", page, line, err, out)
			continue
		}
		t.Logf("%s\n%s", line, out)
	}
}

var orders = []struct {
	pattern *regexp.Regexp
	do      func(t *testing.T, c *Cluster, m []string) (string, error)
}{
	{regexp.MustCompile(`^kubectl --namespace grid exec (\S+) -- bgrid-node (.+)$`), func(t *testing.T, c *Cluster, m []string) (string, error) {
		pod := m[1]
		if name, ok := strings.CutPrefix(pod, "deployment/"); ok {
			pod = name + "-0"
		}
		if c.Pod(pod) == nil {
			return "", fmt.Errorf("no pod %s", pod)
		}
		return c.Pod(pod).Exec(t.Context(), append([]string{"bgrid-node"}, strings.Fields(m[2])...)...)
	}},
	{regexp.MustCompile(`^kubectl --namespace grid scale (\S+) --replicas=(\d+)$`), func(t *testing.T, c *Cluster, m []string) (string, error) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(m[1], "deployment/") {
			n = 4 // more than there are, and no more than this machine can bear
		}
		return "", c.Scale(t.Context(), m[1], int32(n))
	}},
	{regexp.MustCompile(`^kubectl --namespace grid set image (statefulset/\S+) `), func(t *testing.T, c *Cluster, m []string) (string, error) {
		w, err := c.Workload(m[1])
		if err != nil {
			return "", err
		}
		return "", c.Restart(t.Context(), w)
	}},
	{regexp.MustCompile(`^kubectl --namespace grid rollout status (\S+)$`), func(t *testing.T, c *Cluster, m []string) (string, error) {
		w, err := c.Workload(m[1])
		if err != nil {
			return "", err
		}
		return "", c.AwaitReady(t.Context(), w)
	}},
	{regexp.MustCompile(`^kubectl --namespace grid set image deployment --selector app.kubernetes.io/name=bgrid-worker `), func(t *testing.T, c *Cluster, _ []string) (string, error) {
		return "", c.Delete(t.Context(), "bgrid-worker-userchroot-0")
	}},
	{regexp.MustCompile(`^kubectl --namespace grid delete persistentvolumeclaim/(\S+) --wait=false$`), func(_ *testing.T, c *Cluster, m []string) (string, error) {
		return "", c.DeleteClaim(m[1])
	}},
	{regexp.MustCompile(`^kubectl --namespace grid delete pod/(\S+)$`), func(t *testing.T, c *Cluster, m []string) (string, error) {
		if err := c.Delete(t.Context(), m[1]); err != nil {
			return "", err
		}
		w, err := c.Workload("statefulset/bgrid")
		if err != nil {
			return "", err
		}
		return "", c.AwaitReady(t.Context(), w)
	}},
	{regexp.MustCompile(`^bgrid-node (run --server )ADDRESS:50051 (.+)$`), func(t *testing.T, c *Cluster, m []string) (string, error) {
		args := append([]string{"bgrid-node"}, strings.Fields(m[1]+c.Service("bgrid")+" "+m[2])...)
		return c.Pod("bgrid-0").Exec(t.Context(), args...)
	}},
}

// obey does what a line of a guide says.
func obey(t *testing.T, c *Cluster, line string) (string, error) {
	t.Helper()
	for _, o := range orders {
		if m := o.pattern.FindStringSubmatch(line); m != nil {
			return o.do(t, c, m)
		}
	}
	return "", fmt.Errorf("no test runs this command: run it here, or say where it is run")
}

package k8s

import (
	"bytes"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Options returns what a container's command is told: the configuration file, then
// the environment, then the flags, with later ones over earlier ones. $(NAME) and the
// downward API are for the pod of that name and address.
func (s *Set) Options(w *Workload, c *corev1.Container, pod, address string) (map[string]string, error) {
	env, err := Environment(c, pod, address)
	if err != nil {
		return nil, err
	}
	options := map[string]string{}
	if at := env["BGRID_CONFIG"]; at != "" {
		text, err := s.mountedFile(w, c, at)
		if err != nil {
			return nil, err
		}
		var file map[string]any
		if err := yaml.NewDecoder(bytes.NewReader([]byte(text))).Decode(&file); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		for key, value := range file {
			options[key] = fmt.Sprint(value)
		}
	}
	for name, value := range env {
		if option, ok := strings.CutPrefix(name, "BGRID_"); ok {
			options[strings.ToLower(strings.ReplaceAll(option, "_", "-"))] = value
		}
	}
	for _, arg := range Arguments(c, env) {
		if flag, ok := strings.CutPrefix(arg, "--"); ok {
			name, value, given := strings.Cut(flag, "=")
			if !given {
				value = "true"
			}
			options[name] = value
		}
	}
	return options, nil
}

// Environment returns the variables of a container as the kubelet would set them.
func Environment(c *corev1.Container, pod, address string) (map[string]string, error) {
	env := map[string]string{}
	for _, e := range c.Env {
		value := expand(e.Value, env)
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			var err error
			if value, err = fieldOf(e.ValueFrom.FieldRef.FieldPath, pod, address); err != nil {
				return nil, fmt.Errorf("variable %s: %w", e.Name, err)
			}
		}
		env[e.Name] = value
	}
	return env, nil
}

// Arguments returns what follows the command, with $(NAME) expanded.
func Arguments(c *corev1.Container, env map[string]string) []string {
	var args []string
	for _, a := range slices.Concat(c.Command[1:], c.Args) {
		args = append(args, expand(a, env))
	}
	return args
}

func expand(value string, env map[string]string) string {
	return references.ReplaceAllStringFunc(value, func(ref string) string {
		if v, ok := env[ref[2:len(ref)-1]]; ok {
			return v
		}
		return ref
	})
}

// mountedFile returns what a path in a container is when a ConfigMap is mounted there.
func (s *Set) mountedFile(w *Workload, c *corev1.Container, at string) (string, error) {
	for _, m := range c.VolumeMounts {
		if m.MountPath != path.Dir(at) {
			continue
		}
		for _, v := range w.Pod.Volumes {
			if v.Name != m.Name || v.ConfigMap == nil {
				continue
			}
			config, _ := named[*corev1.ConfigMap](s, v.ConfigMap.Name)
			if config != nil && config.Data[path.Base(at)] != "" {
				return config.Data[path.Base(at)], nil
			}
		}
	}
	return "", fmt.Errorf("%s: no ConfigMap is mounted that has it", at)
}

// checkGrid checks that the nodes' options fit the objects around them.
func checkGrid(s *Set, r *report) {
	for _, w := range s.Workloads() {
		if w.Set == nil {
			continue
		}
		c := &w.Pod.Containers[0]
		o, err := s.Options(&w, c, w.Set.Name+"-0", "10.0.0.1")
		if err != nil {
			r.addf(w.ID, "%v", err)
			continue
		}
		for option, port := range map[string]string{"listen": "grpc", "http-listen": "http", "peer-listen": "peer"} {
			number, ok := w.podPort(port)
			if want := fmt.Sprintf(":%d", number); !ok || o[option] != want {
				r.addf(w.ID, "--%s is %q, and the port %s is %s", option, o[option], port, want)
			}
		}
		if want := strconv.Itoa(int(w.Replicas)); o["bootstrap-expect"] != want {
			r.addf(w.ID, "--bootstrap-expect is %q, and there are %s replicas", o["bootstrap-expect"], want)
		}
		if want := fmt.Sprintf("%s-0.%s:", w.Set.Name, w.Set.Spec.ServiceName); !strings.HasPrefix(o["advertise-peer"], want) {
			r.addf(w.ID, "--advertise-peer is %q, want %s...", o["advertise-peer"], want)
		}
		s.checkAddress(r, w.ID+" --advertise-peer", strings.TrimPrefix(o["advertise-peer"], w.Set.Name+"-0."))
		peers, isName := strings.CutPrefix(o["peers"], "dns:")
		if host, _, _ := strings.Cut(peers, ":"); !isName || host != w.Set.Spec.ServiceName {
			r.addf(w.ID, "--peers is %q, want the name of the service %s", o["peers"], w.Set.Spec.ServiceName)
		}
		s.checkAddress(r, w.ID+" --peers", peers)
		s.checkGridFiles(r, &w, c, o)
	}
}

func (s *Set) checkGridFiles(r *report, w *Workload, c *corev1.Container, o map[string]string) {
	size := w.sizeLimit(c, o["data-dir"])
	if size == nil || len(w.Claims) == 0 {
		r.addf(w.ID, "--data-dir %s is on no volume claim", o["data-dir"])
	} else if _, most, ok := strings.Cut(o["cas-max-size"], " max "); !ok || toBytes(most) > size.Value()*9/10 {
		r.addf(w.ID, "--cas-max-size %s leaves less than a tenth of the %s of the claim", o["cas-max-size"], size)
	}
	token := o["cluster-token-file"]
	if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return path.Join(m.MountPath, "token") == token && slices.ContainsFunc(w.Pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name && v.Secret != nil })
	}) {
		r.addf(w.ID, "--cluster-token-file %s: no Secret is mounted there", token)
	}
	if _, port, _ := net.SplitHostPort(o["http-listen"]); port != "8080" {
		r.addf(w.ID, "--http-listen is %s, and preStop drains at 127.0.0.1:8080", o["http-listen"])
	}
	checkGrace(r, w, o["drain-timeout"], 2) // preStop and then SIGTERM
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Exec == nil || c.StartupProbe == nil || c.LivenessProbe == nil || c.ReadinessProbe == nil {
		r.addf(w.ID, "lacks one of preStop, startupProbe, livenessProbe and readinessProbe")
	}
}

// checkGrace checks that a pod may take as long to end as it does.
func checkGrace(r *report, w *Workload, drain string, times int) {
	d, err := time.ParseDuration(drain)
	grace := time.Duration(valueOr(w.Pod.TerminationGracePeriodSeconds, 30)) * time.Second
	if need := time.Duration(times)*d + 15*time.Second; err != nil || grace < need {
		r.addf(w.ID, "terminationGracePeriodSeconds is %s, and draining takes %s %d times", grace, drain, times)
	}
}

// checkAddress checks that HOST:PORT is a service of the set.
func (s *Set) checkAddress(r *report, where, address string) {
	host, port, err := net.SplitHostPort(address)
	service, ok := named[*corev1.Service](s, host)
	if err != nil || !ok || !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return strconv.Itoa(int(p.Port)) == port }) {
		r.addf(where, "%q is no service and port of these", address)
	}
}

// toBytes reads a size such as 40GiB; -1 for none.
func toBytes(size string) int64 {
	q, err := resource.ParseQuantity(strings.TrimSuffix(size, "B"))
	if err != nil {
		return -1
	}
	return q.Value()
}

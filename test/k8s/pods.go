package k8s

import (
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// checkPods checks each template as the API server would check a Pod. It does not
// check those of a StatefulSet, whose pods then fail to be made.
func checkPods(s *Set, r *report) {
	for _, w := range s.Workloads() {
		names := map[string]bool{}
		ports := map[string]bool{}
		for _, c := range slices.Concat(w.Pod.InitContainers, w.Pod.Containers) {
			where := w.ID + " container " + c.Name
			if len(validation.IsDNS1123Label(c.Name)) > 0 || names[c.Name] {
				r.addf(where, "the name is malformed or given twice")
			}
			names[c.Name] = true
			if len(c.Command) == 0 || !path.IsAbs(c.Command[0]) {
				r.addf(where, "command %q: want the path of a program", c.Command)
			}
			if c.ImagePullPolicy != corev1.PullIfNotPresent {
				r.addf(where, "imagePullPolicy %q: images that were loaded into nodes by hand must do", c.ImagePullPolicy)
			}
			for _, p := range c.Ports {
				checkPortNumber(r, where, p.ContainerPort)
				if p.HostPort != 0 || p.HostIP != "" {
					r.addf(where, "port %s takes a port of the node", p.Name)
				}
				if len(validation.IsValidPortName(p.Name)) > 0 || ports[p.Name] {
					r.addf(where, "port name %q is malformed or given twice", p.Name)
				}
				ports[p.Name] = true
			}
			for name, probe := range map[string]*corev1.Probe{"startupProbe": c.StartupProbe, "livenessProbe": c.LivenessProbe, "readinessProbe": c.ReadinessProbe} {
				if probe != nil {
					checkProbe(r, where+" "+name, &w, probe)
				}
			}
		}
		checkPodFields(s, r, &w)
	}
}

func checkPodFields(s *Set, r *report, w *Workload) {
	want := corev1.RestartPolicyAlways
	if w.ID[:3] == "Job" {
		want = corev1.RestartPolicyOnFailure
	}
	if have := w.Pod.RestartPolicy; have != want && (have != "" || want != corev1.RestartPolicyAlways) {
		r.addf(w.ID, "restartPolicy %q, want %s", have, want)
	}
	if valueOr(w.Pod.EnableServiceLinks, true) {
		r.addf(w.ID, "enableServiceLinks must be false: Kubernetes would set BGRID_ variables for the service bgrid, which are errors")
	}
	if w.Pod.NodeSelector["kubernetes.io/os"] != "linux" {
		r.addf(w.ID, "may be put on a node that does not run Linux")
	}
	account := w.Pod.ServiceAccountName
	if account != "" {
		if _, ok := named[*corev1.ServiceAccount](s, account); !ok {
			r.addf(w.ID, "serviceAccountName %s: there is none", account)
		}
	}
	if valueOr(w.Pod.AutomountServiceAccountToken, true) != (account != "") {
		r.addf(w.ID, "automountServiceAccountToken must be true with a service account of its own, and false without")
	}
}

// checkProbe checks that a probe asks a port that the pod has, and can succeed.
func checkProbe(r *report, where string, w *Workload, p *corev1.Probe) {
	var port intstr.IntOrString
	switch {
	case p.GRPC != nil:
		port = intstr.FromInt32(p.GRPC.Port)
		if want := []string{"liveness", "readiness"}; p.GRPC.Service == nil || !slices.Contains(want, *p.GRPC.Service) {
			r.addf(where, "service: want one of %q", want)
		}
	case p.HTTPGet != nil:
		port = p.HTTPGet.Port
	case p.TCPSocket != nil:
		port = p.TCPSocket.Port
	case p.Exec == nil:
		r.addf(where, "asks nothing")
		return
	}
	if _, ok := w.TargetPort(port); p.Exec == nil && !ok {
		r.addf(where, "port %s is no port of the pod", port.String())
	}
	if p.PeriodSeconds < 1 || p.TimeoutSeconds < 1 || p.FailureThreshold < 1 {
		r.addf(where, "periodSeconds, timeoutSeconds and failureThreshold must be given, and 1 at least")
	}
}

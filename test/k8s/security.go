package k8s

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// sandboxes are the workers that must make user namespaces, and so have no seccomp
// profile unless an overlay gives them one. Everything else is "restricted".
var sandboxes = []string{"Deployment/bgrid-worker-bubblewrap", "Deployment/bgrid-worker-userchroot"}

// checkSecurity holds all pods to Pod Security's "restricted", and to a root file
// system that is read-only; the sandboxes may leave out the seccomp profile, which
// "baseline" allows.
func checkSecurity(s *Set, r *report) {
	for _, w := range s.Workloads() {
		p := w.Pod
		if p.HostNetwork || p.HostPID || p.HostIPC || valueOr(p.ShareProcessNamespace, false) {
			r.addf(w.ID, "shares namespaces with its node or between containers")
		}
		pod := valueOr(p.SecurityContext, corev1.PodSecurityContext{})
		if !valueOr(pod.RunAsNonRoot, false) || valueOr(pod.RunAsUser, 0) == 0 || len(pod.Sysctls) > 0 {
			r.addf(w.ID, "runs as root, or with sysctls")
		}
		checkSeccomp(r, w.ID, pod.SeccompProfile, slices.Contains(sandboxes, w.ID))
		for _, c := range slices.Concat(p.InitContainers, p.Containers) {
			checkContainerSecurity(r, w.ID+" container "+c.Name, valueOr(c.SecurityContext, corev1.SecurityContext{}))
		}
	}
}

func checkContainerSecurity(r *report, where string, c corev1.SecurityContext) {
	if valueOr(c.Privileged, false) || valueOr(c.AllowPrivilegeEscalation, true) {
		r.addf(where, "is privileged, or may become so")
	}
	drop := valueOr(c.Capabilities, corev1.Capabilities{})
	if len(drop.Add) > 0 || !slices.Equal(drop.Drop, []corev1.Capability{"ALL"}) {
		r.addf(where, "capabilities: want all dropped and none added")
	}
	if !valueOr(c.ReadOnlyRootFilesystem, false) {
		r.addf(where, "can write to its root file system")
	}
	if c.RunAsUser != nil || c.RunAsNonRoot != nil || c.SeccompProfile != nil || c.ProcMount != nil {
		r.addf(where, "overrides what is said for the pod")
	}
}

func checkSeccomp(r *report, id string, p *corev1.SeccompProfile, sandbox bool) {
	switch {
	case p == nil && sandbox:
	case p != nil && sandbox && p.Type == corev1.SeccompProfileTypeLocalhost && valueOr(p.LocalhostProfile, "") != "":
	case p != nil && !sandbox && p.Type == corev1.SeccompProfileTypeRuntimeDefault:
	case sandbox:
		r.addf(id, "seccompProfile: RuntimeDefault forbids user namespaces, and Unconfined is refused by Pod Security: leave it out, or Localhost")
	default:
		r.addf(id, "seccompProfile: want RuntimeDefault")
	}
}

package k8s

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// checkServices checks that each service leads to ports that its pods have.
func checkServices(s *Set, r *report) {
	for _, v := range all[*corev1.Service](s) {
		id := "Service/" + v.Name
		targets := s.selected(v.Spec.Selector)
		if len(v.Spec.Selector) == 0 || len(targets) != 1 {
			r.addf(id, "selects the pods of %d workloads, want one", len(targets))
			continue
		}
		if len(v.Spec.Ports) == 0 {
			r.addf(id, "has no port")
		}
		for _, p := range v.Spec.Ports {
			checkPortNumber(r, id, p.Port)
			if p.Name == "" {
				r.addf(id, "port %d has no name", p.Port)
			}
			number, ok := targets[0].TargetPort(p.TargetPort)
			if !ok {
				r.addf(id, "targetPort %s is no port of the pods of %s", p.TargetPort.String(), targets[0].ID)
			}
			if v.Spec.ClusterIP == corev1.ClusterIPNone && number != p.Port {
				r.addf(id, "is headless, so that port %d reaches port %d of the pods", p.Port, p.Port)
			}
		}
	}
	for _, v := range all[*appsv1.StatefulSet](s) {
		service, ok := named[*corev1.Service](s, v.Spec.ServiceName)
		switch {
		case !ok:
			r.addf("StatefulSet/"+v.Name, "serviceName %s: no such service", v.Spec.ServiceName)
		case service.Spec.ClusterIP != corev1.ClusterIPNone || !service.Spec.PublishNotReadyAddresses:
			r.addf("Service/"+service.Name, "must be headless and publish addresses that are not ready: nodes find each other by it")
		}
	}
}

// selected returns the workloads whose pods have the labels.
func (s *Set) selected(selector map[string]string) []Workload {
	var list []Workload
	for _, w := range s.Workloads() {
		if labels.SelectorFromSet(selector).Matches(labels.Set(w.Labels)) {
			list = append(list, w)
		}
	}
	return list
}

// TargetPort returns the number of a port that the pods have.
func (w *Workload) TargetPort(p intstr.IntOrString) (int32, bool) {
	if p.Type == intstr.String {
		return w.podPort(p.StrVal)
	}
	for _, c := range w.Pod.Containers {
		for _, have := range c.Ports {
			if have.ContainerPort == p.IntVal {
				return p.IntVal, true
			}
		}
	}
	return 0, false
}

func checkPortNumber(r *report, id string, port int32) {
	if port < 1 || port > 65535 {
		r.addf(id, "port %d: want 1 to 65535", port)
	}
}

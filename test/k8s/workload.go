package k8s

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Workload is what makes pods.
type Workload struct {
	ID       string // such as StatefulSet/bgrid
	Replicas int32
	Selector *metav1.LabelSelector // nil: Kubernetes chooses it
	Labels   map[string]string     // of its pods
	Pod      corev1.PodSpec
	Claims   []corev1.PersistentVolumeClaim
	Set      *appsv1.StatefulSet // nil: it is another kind
}

// Workloads returns all that make pods.
func (s *Set) Workloads() []Workload {
	var list []Workload
	for _, o := range s.Objects {
		w := Workload{ID: o.id(), Replicas: 1}
		var template corev1.PodTemplateSpec
		switch v := o.Value.(type) {
		case *appsv1.Deployment:
			w.Selector, template = v.Spec.Selector, v.Spec.Template
			w.Replicas = valueOr(v.Spec.Replicas, 1)
		case *appsv1.StatefulSet:
			w.Selector, template, w.Claims, w.Set = v.Spec.Selector, v.Spec.Template, v.Spec.VolumeClaimTemplates, v
			w.Replicas = valueOr(v.Spec.Replicas, 1)
		case *batchv1.Job:
			w.Selector, template = v.Spec.Selector, v.Spec.Template
		default:
			continue
		}
		w.Labels, w.Pod = template.Labels, template.Spec
		list = append(list, w)
	}
	return list
}

// podPort returns the number of a pod's port by name, or false.
func (w *Workload) podPort(name string) (int32, bool) {
	for _, c := range w.Pod.Containers {
		for _, p := range c.Ports {
			if p.Name == name {
				return p.ContainerPort, true
			}
		}
	}
	return 0, false
}

func valueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

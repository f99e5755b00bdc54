package k8s

import (
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// references finds $(NAME) in values and arguments.
var references = regexp.MustCompile(`\$\(([A-Za-z_][A-Za-z0-9_]*)\)`)

// checkEnvironment checks that variables refer to earlier ones, to keys and to
// fields that exist. Kubernetes leaves a wrong $(NAME) as it is.
func checkEnvironment(s *Set, r *report) {
	for _, w := range s.Workloads() {
		for _, c := range slices.Concat(w.Pod.InitContainers, w.Pod.Containers) {
			where := w.ID + " container " + c.Name
			if len(c.EnvFrom) > 0 {
				r.addf(where, "envFrom: name the variables, so that each can be checked")
			}
			known := map[string]bool{}
			for _, e := range c.Env {
				if known[e.Name] {
					r.addf(where, "variable %s is given twice", e.Name)
				}
				checkReferences(r, where+" variable "+e.Name, e.Value, known)
				if e.ValueFrom != nil {
					s.checkVariableSource(r, where+" variable "+e.Name, e.ValueFrom)
				} else if e.Value == "" {
					r.addf(where, "variable %s is empty", e.Name)
				}
				known[e.Name] = true
			}
			for _, arg := range slices.Concat(c.Command, c.Args) {
				checkReferences(r, where+" argument "+arg, arg, known)
			}
		}
	}
}

func checkReferences(r *report, where, value string, known map[string]bool) {
	for _, m := range references.FindAllStringSubmatch(value, -1) {
		if !known[m[1]] {
			r.addf(where, "$(%s) is not set before", m[1])
		}
	}
}

func (s *Set) checkVariableSource(r *report, where string, from *corev1.EnvVarSource) {
	switch {
	case from.FieldRef != nil:
		if _, err := fieldOf(from.FieldRef.FieldPath, "", ""); err != nil {
			r.addf(where, "%v", err)
		}
	case from.ConfigMapKeyRef != nil:
		s.checkKey(r, where, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
	case from.SecretKeyRef != nil:
		r.addf(where, "a secret in the environment is seen by every process: mount it")
	default:
		r.addf(where, "has no source that is used here")
	}
}

// fieldOf returns what the downward API gives a pod.
func fieldOf(field, pod, address string) (string, error) {
	switch field {
	case "metadata.name":
		return pod, nil
	case "status.podIP":
		return address, nil
	}
	return "", fmt.Errorf("fieldPath %s: not one that is used here", field)
}

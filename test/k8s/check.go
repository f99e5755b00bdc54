package k8s

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// report collects what is wrong.
type report struct{ problems []string }

func (r *report) addf(where, format string, args ...any) {
	r.problems = append(r.problems, where+": "+fmt.Sprintf(format, args...))
}

// Check returns everything that is wrong with the set, a line each.
func (s *Set) Check() []string {
	r := &report{}
	for _, check := range []func(*Set, *report){
		checkNames, checkSelectors, checkServices, checkPolicies, checkPods, checkVolumes, checkEnvironment, checkRoom,
		checkSecurity, checkRights, checkGrid, checkWorkers,
	} {
		check(s, r)
	}
	return r.problems
}

// checkNames checks what every object has.
func checkNames(s *Set, r *report) {
	seen := map[string]bool{}
	for _, o := range s.Objects {
		id := o.id()
		if seen[id] {
			r.addf(id, "there are two")
		}
		seen[id] = true
		nameRule := validation.IsDNS1123Subdomain
		if o.Kind == "Service" || o.Kind == "StatefulSet" || o.Kind == "Deployment" || o.Kind == "Job" {
			nameRule = validation.IsDNS1035Label // their names become host names and label values
		}
		for _, m := range nameRule(o.Value.GetName()) {
			r.addf(id, "name: %s", m)
		}
		if o.Value.GetNamespace() != "" {
			r.addf(id, "has a namespace: the caller chooses it")
		}
		checkLabels(r, id, o.Value.GetLabels())
	}
	for _, w := range s.Workloads() {
		checkLabels(r, w.ID+" template", w.Labels)
	}
}

func checkLabels(r *report, id string, have map[string]string) {
	for _, key := range []string{"app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of"} {
		if have[key] == "" {
			r.addf(id, "lacks the label %s", key)
		}
	}
	for key, value := range have {
		for _, m := range append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...) {
			r.addf(id, "label %s: %s", key, m)
		}
	}
}

// checkSelectors checks that each workload selects its own pods and no others.
func checkSelectors(s *Set, r *report) {
	workloads := s.Workloads()
	for _, w := range workloads {
		if w.Selector == nil {
			if w.Set != nil || w.ID[:3] != "Job" {
				r.addf(w.ID, "has no selector")
			}
			continue
		}
		for _, other := range workloads {
			if matches(r, w.ID, w.Selector, other.Labels) != (w.ID == other.ID) {
				r.addf(w.ID, "its selector and the labels of the pods of %s do not fit", other.ID)
			}
		}
	}
	for _, w := range workloads {
		for _, c := range w.Pod.TopologySpreadConstraints {
			if !matches(r, w.ID, c.LabelSelector, w.Labels) {
				r.addf(w.ID, "topologySpreadConstraints: the selector for %s does not select the pods themselves", c.TopologyKey)
			}
			if c.MaxSkew < 1 {
				r.addf(w.ID, "topologySpreadConstraints: maxSkew %d", c.MaxSkew)
			}
		}
	}
}

// matches tells whether a selector that must not be empty selects the labels.
func matches(r *report, id string, selector *metav1.LabelSelector, set map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || parsed.Empty() {
		r.addf(id, "its selector %v is empty or malformed", selector)
		return false
	}
	return parsed.Matches(labels.Set(set))
}

package k8s

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// checkRoom checks requests, limits and what follows from them.
func checkRoom(s *Set, r *report) {
	for _, w := range s.Workloads() {
		for _, c := range w.Pod.Containers {
			where := w.ID + " container " + c.Name
			limits, requests := c.Resources.Limits, c.Resources.Requests
			if requests.Cpu().Sign() <= 0 || requests.Memory().Sign() <= 0 || limits.Memory().Sign() <= 0 {
				r.addf(where, "resources: want requests of cpu and memory, and a limit of memory")
				continue
			}
			for name, most := range limits {
				if least, ok := requests[name]; ok && least.Cmp(most) > 0 {
					r.addf(where, "resources: requests %s of %s, and is limited to %s", least.String(), name, most.String())
				}
			}
			checkGoLimit(r, where, &c, w.Set != nil)
		}
	}
}

// checkGoLimit checks GOMEMLIMIT: near the limit of a node, which is all of its pod,
// and well below that of a worker, whose actions need the most of it.
func checkGoLimit(r *report, where string, c *corev1.Container, node bool) {
	value := ""
	for _, e := range c.Env {
		if e.Name == "GOMEMLIMIT" {
			value = e.Value
		}
	}
	if value == "" {
		if c.Name != "token" {
			r.addf(where, "has no GOMEMLIMIT")
		}
		return
	}
	mib, isMiB := strings.CutSuffix(value, "MiB")
	n, err := strconv.ParseInt(mib, 10, 64)
	if !isMiB || err != nil {
		r.addf(where, "GOMEMLIMIT %s: want MiB", value)
		return
	}
	share := float64(n<<20) / float64(c.Resources.Limits.Memory().Value())
	if least, most := 0.80, 0.95; node && (share < least || share > most) {
		r.addf(where, "GOMEMLIMIT is %.0f %% of limits.memory, want %.0f to %.0f", 100*share, 100*least, 100*most)
	}
	if most := 0.5; !node && share > most {
		r.addf(where, "GOMEMLIMIT is %.0f %% of limits.memory, want %.0f at most: actions need the rest", 100*share, 100*most)
	}
}

// sizeLimit returns the size of the volume mounted at a path, or nil.
func (w *Workload) sizeLimit(c *corev1.Container, at string) *resource.Quantity {
	for _, m := range c.VolumeMounts {
		if m.MountPath != at {
			continue
		}
		for _, v := range w.Pod.Volumes {
			if v.Name == m.Name && v.EmptyDir != nil {
				return v.EmptyDir.SizeLimit
			}
		}
		for _, claim := range w.Claims {
			if claim.Name == m.Name {
				return claim.Spec.Resources.Requests.Storage()
			}
		}
	}
	return nil
}

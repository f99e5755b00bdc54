package k8s

import (
	"strings"
)

// checkWorkers checks that the workers' options fit the objects around them.
func checkWorkers(s *Set, r *report) {
	instance := ""
	for _, w := range s.Workloads() {
		if w.Set != nil {
			if o, err := s.Options(&w, &w.Pod.Containers[0], "", ""); err == nil {
				instance = o["instance"]
			}
		}
	}
	for _, w := range s.Workloads() {
		if !strings.HasPrefix(w.ID, "Deployment/") {
			continue
		}
		c := &w.Pod.Containers[0]
		o, err := s.Options(&w, c, "", "")
		if err != nil {
			r.addf(w.ID, "%v", err)
			continue
		}
		if instance != "" { // with the grid
			s.checkAddress(r, w.ID+" --server", o["server"])
			if o["instance"] != instance {
				r.addf(w.ID, "--instance is %q, that of the grid %q", o["instance"], instance)
			}
		}
		if want := "Deployment/bgrid-worker-" + o["runner"]; w.ID != want {
			r.addf(w.ID, "--runner is %q", o["runner"])
		}
		size, caches := w.sizeLimit(c, o["data-dir"]), toBytes(o["work-cache-size"])+toBytes(o["tree-cache-size"])
		if size == nil || caches < 2 || caches*2 > size.Value() {
			r.addf(w.ID, "--data-dir %s: caches take %s and %s, want at most half of a volume of its own", o["data-dir"], o["work-cache-size"], o["tree-cache-size"])
		}
		checkGrace(r, &w, o["drain-timeout"], 1)
	}
}
